"""Which corpora are known? One module each; its name is the command's.

A recipe has `add_arguments(parser)` and `items(args)`, which yields `data_prep.clips.Item`. Its
docstring is the help of the command. `items` raises `UsageError` where the corpus is not there, and
says how to get it, or where an option contradicts another.
"""
