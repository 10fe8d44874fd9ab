"""The wire of AWS Import/Export (Disk), REST API 2010-06-01, from both sides.

It knows requests, answers and errors. It knows nothing of drives, spools or journals.
"""
