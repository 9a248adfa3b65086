"""How does a corpus become shards? Recipes say what it holds, one engine does the work."""
