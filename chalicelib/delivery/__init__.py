"""How the world outside is told: job messages, mail, signed webhooks."""
