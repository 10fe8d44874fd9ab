"""`python -m daemon` is `driveprep`."""

from daemon.cli.main import main

main()
