"""The pool written out for people, and what it has lost found again."""
