"""Studies in the queue: dead letters and what the operator may do with them."""
