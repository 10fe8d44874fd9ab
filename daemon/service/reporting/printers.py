"""A printer: a command that gets a document on its standard input.

CUPS takes documents for a printer that is switched off, and lp(1) then ends with 0. So for lp, the
printer's state is asked of lpstat(1) first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import PrinterError
from daemon.system import programs
from daemon.system.printable import printable
from daemon.system.programs import Ended, Environment

SEND_SECONDS = 30.0
STATE_SECONDS = 10.0
WITH_VALUE = ("-d", "-h", "-U")  # options of lp whose values lpstat needs as well
# Of "Alerts:" in `lpstat -l -p`, printer-state-reasons of RFC 8011: it prints nothing now.
ALERTS = re.compile(
    r"\b(offline|connecting-to-device|timed-out|media-empty|media-jam|cover-open|door-open"
    r"|paused|shutdown|toner-empty|marker-supply-empty|cups-missing-filter)\S*"
)


@dataclass(frozen=True, slots=True)
class Printer:
    """A command, as the configuration names it, and the environment that it gets."""

    words: tuple[str, ...]
    environment: Environment

    def check(self) -> None:
        """Raise PrinterError if lpstat knows that the printer of an lp command cannot print."""
        if Path(self.words[0]).name != "lp":
            return
        options = _options(self.words)
        server = [word for key in ("-h", "-U") if key in options for word in (key, options[key])]
        name = options.get("-d") or self._default(server)
        ended = self._lpstat(*server, "-l", "-p", name)
        said = _said(ended.output)
        if ended.code or not said:
            raise _unavailable(name, _said(ended.errors) or f"lpstat ended with {ended.code}")
        if re.match(r"printer \S+ disabled", said) or ALERTS.search(said):
            raise _unavailable(name, said)

    def send(self, document: bytes) -> None:
        """Have it printed. Raises PrinterError if that failed, and TimeoutError if it may not have.

        Then the document can be at the printer.
        """
        try:
            ended = programs.run(self.words, self.environment, SEND_SECONDS, data=document)
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            raise _command(self.words[0], str(error)) from error
        if ended.code:
            raise _command(self.words[0], f"it ended with {ended.code}: {_said(ended.errors)}")

    def _default(self, server: list[str]) -> str:
        name = _said(self._lpstat(*server, "-d").output).rpartition(": ")[2]
        if not name or " " in name:
            hint = "Name one in the configuration, such as [lp, -d, office]. `lpstat -p` lists all."
            raise PrinterError("lp has no printer by default", hint, code="printer")
        return name

    def _lpstat(self, *words: str) -> Ended:
        try:
            return programs.run(["lpstat", *words], self.environment, STATE_SECONDS)
        except OSError as error:
            raise _command("lpstat", str(error)) from error


def _options(words: tuple[str, ...]) -> dict[str, str]:
    """Return the options of an lp command that have values: `-d name` or `-dname`."""
    found = {}
    for word, following in zip(words[1:], [*words[2:], ""], strict=True):
        if word[:2] in WITH_VALUE:
            found[word[:2]] = word[2:] or following
    return found


def _said(output: bytes) -> str:
    return printable(" ".join(output.decode("utf-8", "replace").split()))[:300]


def _unavailable(name: str, reason: str) -> PrinterError:
    hint = f"See that it is switched on; `lpstat -l -p {name}`, `cupsenable {name}`. It prints then"
    return PrinterError(f"printer {name} is not available: {reason}", f"{hint}.", code="printer")


def _command(program: str, reason: str) -> PrinterError:
    hint = "Try the command under `print` in the configuration by hand. It is tried again."
    return PrinterError(f"{program} cannot print: {reason}", hint, code="print-command")
