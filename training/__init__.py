"""How the shipped pack `cardionet` was made, reproducibly; nothing here runs in production."""
