"""`driveprep format`: disks become NTFS drives, one by hand or a bench at a time."""
