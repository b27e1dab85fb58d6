"""A plugin's backbone made ready: head, weights, and what of it trains."""
