"""What clients used, and what it costs them."""
