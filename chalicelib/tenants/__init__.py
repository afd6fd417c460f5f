"""Clients, their keys, their studies and what they used: one DynamoDB table."""
