"""Packs: fetched, converted, installed, and which of them answers."""
