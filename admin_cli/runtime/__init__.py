"""The packages too large for a Lambda zip: built, brought to the mount, switched."""

SHORTEST = 6  # digits that tell one tree from another
