"""Makes a PDF or a sticker by the program renderer.py, with limits on time and memory.

The texts are untrusted, so the daemon does not lay them out in its own process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from daemon.errors import PaperError
from daemon.preparation.papers.renderer import NOT_INSTALLED, TEMPLATE_FAULT
from daemon.system import programs
from daemon.system.printable import printable
from daemon.system.programs import Ended

LIMIT_SECONDS = 60.0  # on a busy machine; renderer.py has a limit of processor time as well
# A station that scripts/install made has its own Python; WeasyPrint may be the distribution's.
PYTHONS = (sys.executable, "/usr/bin/python3")
RENDERER = Path(__file__).with_name("renderer.py")
SHOWN_CHARACTERS = 300  # of what it reports when it fails


def pdf(html: str) -> bytes:
    """Return a page as one sheet of PDF. Raises PaperError."""
    for python in PYTHONS:
        ended = _run(python, {"html": html})
        if ended.code != NOT_INSTALLED:
            return _output(ended)
    raise PaperError(
        "the slip cannot be made as a PDF: WeasyPrint is not installed",
        "Install it: apt-get install weasyprint. Until then, `driveprep slip JOB --open` shows the"
        " slip in a browser, to print it.",
        code="no-weasyprint",
    )


def sticker(template: str, values: dict[str, object]) -> bytes:
    """Return what a jinja2 template makes of values. Raises PaperError."""
    return _output(_run(sys.executable, {"template": template, "values": values}))


def _run(python: str, asked: dict[str, object]) -> Ended:
    # -I: nothing of the environment or the current folder gets into it.
    command = [python, "-I", str(RENDERER)]
    try:
        return programs.run(
            command, programs.SYSTEM, LIMIT_SECONDS, data=json.dumps(asked).encode()
        )
    except OSError as error:
        raise _failed(str(error)) from error


def _output(ended: Ended) -> bytes:
    said = printable(ended.errors.decode("utf-8", "replace").strip()[-SHOWN_CHARACTERS:])
    if ended.code == TEMPLATE_FAULT:
        hint = "Correct the template that the configuration names under print.sticker."
        raise PaperError(f"the sticker's template: {said}", hint, code="sticker-template")
    if ended.code:
        raise _failed(f"it ended with {ended.code}: {said}")
    return ended.output


def _failed(reason: str) -> PaperError:
    return PaperError(
        f"the paper cannot be made: {reason}",
        "It takes more time or memory than it may. For a sticker, look at its template.",
        code="paper-not-made",
    )
