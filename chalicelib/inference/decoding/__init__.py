"""One reader for each image format, down to samples; `imaging.py` is the way in."""
