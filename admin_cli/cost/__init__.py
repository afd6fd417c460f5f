"""What a month of Radgate costs at AWS, and what else it could run on."""
