"""An SQLite file that can be trusted. Knows nothing about jobs."""
