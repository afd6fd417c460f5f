"""A stage on AWS: made, changed, checked, written down as a template, and taken away."""
