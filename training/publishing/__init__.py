"""What `training/publish.py` is made of: the tree of a repository, its card and results, its checks, and the Hub."""
