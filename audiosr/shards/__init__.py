"""The format of shards, both ends: what `data_prep` writes and `data` reads."""
