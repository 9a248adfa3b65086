"""How do shards become batches, and how is a clip degraded on the fly?"""
