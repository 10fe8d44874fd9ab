"""What a scanner reads from a printed sheet."""

from __future__ import annotations

import re
import subprocess

import zxingcpp


def codes(pdf: bytes) -> list[tuple[str, str]]:
    """Return kinds and texts of all codes on the one page, at the resolution of a cheap scanner."""
    command = ["pdftoppm", "-gray", "-r", "150", "-"]
    done = subprocess.run(command, input=pdf, capture_output=True, check=True)
    header = re.match(rb"P5\s(\d+)\s(\d+)\s255\s", done.stdout)
    assert header
    shape = [int(header[2]), int(header[1])]
    pixels = memoryview(done.stdout[header.end() :]).cast("B", shape=shape)
    return sorted((str(code.format), code.text) for code in zxingcpp.read_barcodes(pixels))
