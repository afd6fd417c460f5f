"""What `make bench` runs; each file prints one JSON document."""
