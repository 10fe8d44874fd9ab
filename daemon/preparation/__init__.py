"""One job's path: intake, submission, reconciliation, signing, polling, papers."""
