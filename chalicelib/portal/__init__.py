"""What a person sees of the API in a browser: its description, its reference, the portal."""
