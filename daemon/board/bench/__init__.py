"""The bench as it is seen from the journal, the mount table and udev: one View."""
