"""What the daemon reports: to the journal, the log, hooks and printers."""
