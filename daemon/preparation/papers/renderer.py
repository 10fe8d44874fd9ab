"""The program that makes a PDF or a sticker, in a process of its own, with limits.

It reads one JSON text and writes the document. It is run by its path, isolated (python -I), so it
imports nothing of the package.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import urllib.request
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

MEMORY_BYTES = 1024**3  # of address space; WeasyPrint with its fonts takes half of it
PDF_SECONDS, STICKER_SECONDS = 20, 5  # of processor time; a slip takes 1 s, a sticker 0.1 s
NICENESS = 10  # drives come first
OPEN_FILES = 256
MAX_DOCUMENT = 4 * 1024**2  # characters of a sticker, which has some hundred
NOT_INSTALLED = 69  # the exit code where WeasyPrint or its libraries are missing; EX_UNAVAILABLE
TEMPLATE_FAULT = 65  # the exit code for a template that cannot be used; EX_DATAERR


def main() -> int:
    """Make what is asked for; the exit code is 0, or one of the above with a sentence."""
    asked: dict[str, Any] = json.load(sys.stdin)
    _limit(PDF_SECONDS if "html" in asked else STICKER_SECONDS)
    try:
        document = _pdf(asked["html"]) if "html" in asked else _sticker(asked)
    except _FaultError as fault:
        print(fault, file=sys.stderr)
        return fault.code
    sys.stdout.buffer.write(document)
    return 0


class _FaultError(Exception):
    """What a person has to do something about."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def _limit(seconds: int) -> None:
    """Take less than the daemon may: the texts are untrusted, and a template can loop."""
    limits = {
        resource.RLIMIT_AS: MEMORY_BYTES,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        _, hard = resource.getrlimit(kind)
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lower, lower))
    with suppress(OSError):  # systemd's @resources has nice(2), and the unit refuses those calls
        os.nice(NICENESS)


def _pdf(html: str) -> bytes:
    try:
        import weasyprint  # noqa: PLC0415 - only where a PDF is wanted
    except (ImportError, OSError) as error:  # OSError: without Pango
        raise _FaultError(NOT_INSTALLED, str(error).splitlines()[0]) from error
    newer = getattr(weasyprint.urls, "URLFetcher", None)  # since 68; it takes no function
    only_data = newer(allowed_protocols=["data"], allow_redirects=False) if newer else fetch
    document = weasyprint.HTML(string=html, url_fetcher=only_data).render()
    pdf: bytes = document.copy(document.pages[:1]).write_pdf()  # the slip is one sheet, always
    return pdf


def fetch(url: str, *_: object, **__: object) -> dict[str, Any]:
    """Return what a data: URL holds. Raises ValueError for any other: no network, no files."""
    if not url.lower().startswith("data:"):
        raise ValueError(f"{url[:100]} is not part of the page")
    asked = urllib.request.Request(url)  # noqa: S310 - the scheme is data
    answer = urllib.request.DataHandler().data_open(asked)
    return {"string": answer.read(), "mime_type": answer.headers.get_content_type()}


def _sticker(asked: dict[str, Any]) -> bytes:
    import jinja2  # noqa: PLC0415 - only where a sticker is wanted
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["zpl"] = zpl
    try:
        template = environment.from_string(asked["template"])
        return _joined(template.generate(asked["values"])).encode("utf-8", "replace")
    except jinja2.TemplateSyntaxError as error:
        raise _FaultError(TEMPLATE_FAULT, f"line {error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise _FaultError(TEMPLATE_FAULT, f"line {_line(error)}: {error}") from error


def _joined(parts: Iterable[str]) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part)
        if length > MAX_DOCUMENT:
            raise ValueError(f"the sticker is longer than {MAX_DOCUMENT} characters")
    return "".join(kept)


def zpl(value: object) -> str:
    r"""Return `value` for a field that begins with ^FH\, as hexadecimal where ZPL has a meaning.

    The printer must be told that it is UTF-8: ^CI28.
    """
    return "".join(
        one if one.isascii() and one.isprintable() and one not in "^~\\" else _hexadecimal(one)
        for one in str(value)
    )


def _hexadecimal(character: str) -> str:
    return "".join(f"\\{byte:02X}" for byte in character.encode("utf-8", "replace"))


def _line(error: BaseException) -> int:
    """Return the line of the template in which an error was raised."""
    trace, line = error.__traceback__, 0
    while trace:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


if __name__ == "__main__":
    sys.exit(main())
