"""The daemon: waits for events, scans, chooses jobs, starts workers, reports."""
