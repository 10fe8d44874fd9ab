"""The board: a page that shows the bench, in a process of its own beside the daemon.

Optional (the extra `board`), and unknown to the daemon. It reads the journal and asks, like the
commands, by files in pending/.
"""
