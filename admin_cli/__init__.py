"""The operators' command line: the local AWS, deployment, clients, keys and plans."""
