"""The packages too large for a Lambda zip: built, brought to the mount, switched."""
