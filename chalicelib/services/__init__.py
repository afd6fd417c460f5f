"""What the product does, in its own words: no AWS, no torch, no HTTP."""
