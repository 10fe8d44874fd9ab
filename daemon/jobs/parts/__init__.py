"""The parts of the journal, each with its own duty; they share what `access.py` declares."""
