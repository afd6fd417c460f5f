"""Clients, keys, plans and webhooks: in the table, in API Gateway, and where the two differ."""
