"""Pickup: take in the message files that an operator drops, as if they had been fetched."""
