"""driveprep: prepares drives for AWS Import/Export (Disk) export jobs, exactly once."""
