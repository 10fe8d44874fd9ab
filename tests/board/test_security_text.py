"""SECURITY.md names a test for each sentence about the board."""

from __future__ import annotations

import re

from daemon_process import ROOT

SECURITY = (ROOT / "SECURITY.md").read_text()


def test_each_sentence_about_the_board_has_its_test():
    """Every row of the table names a test that exists; each test is named once."""
    table = SECURITY.partition("**The board**")[2].partition("## Secrets")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    named = [re.search(r"`(test_\w+)` \|$", row)[1] for row in rows]
    files = (ROOT / "tests/board").glob("test_*.py")
    there = {name for one in files for name in re.findall(r"(?m)^def (test_\w+)", one.read_text())}

    assert len(named) > 30
    assert sorted(set(named)) == sorted(named)
    assert set(named) <= there
