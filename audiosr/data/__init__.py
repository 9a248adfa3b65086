"""How do shards become batches?"""
