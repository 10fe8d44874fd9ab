"""What is left when the pool is lost: its export, and what papers and service still know."""
