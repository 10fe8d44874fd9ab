"""What a person sees and asks for, the same for the commands and for any other way to show it.

Reports of jobs and drives, actions on one job, and orders to the daemon. Nothing here prints.
"""
