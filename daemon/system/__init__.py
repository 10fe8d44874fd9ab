"""Tools for files, programs, systemd and logs; nothing here knows about jobs."""
