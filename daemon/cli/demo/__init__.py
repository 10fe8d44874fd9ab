"""`driveprep demo`: the main job shown on this machine, and a playground to try it by hand."""
