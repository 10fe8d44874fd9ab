"""The medium itself: what is on it, and how it is made anew."""
