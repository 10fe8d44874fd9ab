"""`driveprep jobs`: every job ever made, for accounting."""
