"""The packages that are too large for a Lambda zip: unpacked on EFS, checked, and imported."""
