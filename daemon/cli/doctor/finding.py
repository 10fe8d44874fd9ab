"""One finding of `driveprep doctor`: a line of its output."""

from __future__ import annotations

import enum
import os
import pwd
from dataclasses import dataclass

ACCOUNT = "driveprep"  # the service's user, and the group of those who may drop manifests


class Verdict(enum.Enum):
    """The result of a check."""

    OK = "ok"
    PROBLEM = "problem"
    UNSEEN = "unseen"  # this user has no permission, or there is nothing to check


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the screen."""

    verdict: Verdict
    subject: str
    fact: str
    remedy: str = ""


def ok(subject: str, fact: str) -> Finding:
    """Nothing to do."""
    return Finding(Verdict.OK, subject, fact)


def problem(subject: str, fact: str, remedy: str) -> Finding:
    """Something that keeps the work from being done."""
    return Finding(Verdict.PROBLEM, subject, fact, remedy)


def unseen(subject: str, fact: str) -> Finding:
    """Something that root could see."""
    return Finding(Verdict.UNSEEN, subject, fact, "Ask again as root: sudo driveprep doctor")


def whoami() -> str:
    """Who asks."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
