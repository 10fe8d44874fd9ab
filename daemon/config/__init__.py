"""The configuration file as typed values."""
