"""The commands as a person meets them."""

from person import ledger, person, service

__all__ = ["ledger", "person", "service"]
