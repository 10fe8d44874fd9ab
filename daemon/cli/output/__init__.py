"""What the commands print for people, and for a pipe."""
