"""The states of a job, and the journal that records them."""
