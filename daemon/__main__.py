"""`python -m daemon` is `driveprep`."""

from daemon.cli import main

main()
