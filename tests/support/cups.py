"""A CUPS of the test's own: cupsd with its files in one folder, and printers on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loop_drives import wait_until

PDF_PRINTER = "lsb/usr/cupsfilters/Generic-PDF_Printer-PDF.ppd"
IS_HERE = all(shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("cupsd", "lp", "lpadmin"))
CUPSD = """
Listen {folder}/cups.sock
Browsing No
DefaultAuthType None
<Location />
Order allow,deny
Allow all
</Location>
<Policy default>
<Limit All>
Order deny,allow
</Limit>
</Policy>
"""
FILES = """
ServerRoot {folder}
RequestRoot {folder}/requests
CacheDir {folder}/cache
StateDir {folder}/state
TempDir {folder}/tmp
ServerBin /usr/lib/cups
DataDir /usr/share/cups
AccessLog {folder}/access_log
ErrorLog {folder}/error_log
PageLog {folder}/page_log
SystemGroup root
"""


class Device:
    """What a printer with a network socket gets, one document for each connection."""

    def __init__(self) -> None:
        self.documents: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Switch it off."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                document = b""
                while data := connection.recv(65536):
                    document += data
            if document:  # CUPS also asks how it is
                self.documents.append(document)


class Cups:
    """A running cupsd; `server` is for the option -h of lp."""

    def __init__(self, folder: Path) -> None:
        self.server = str(folder / "cups.sock")

    def add(self, name: str, device: Device, model: str) -> None:
        """Add a printer."""
        self.runs("lpadmin", "-p", name, "-E", "-v", device.address, "-m", model)

    def runs(self, program: str, *words: str) -> None:
        """Run one of the programs of CUPS for it."""
        environment = {"PATH": "/usr/sbin:/usr/bin", "CUPS_SERVER": self.server}
        subprocess.run([program, *words], env=environment, check=True, capture_output=True)


@contextmanager
def running(folder: Path) -> Iterator[Cups]:
    """Start cupsd in a folder that other users can reach, and stop it."""
    for name in ("requests", "cache", "state", "tmp"):
        (folder / name).mkdir(parents=True)
        shutil.chown(folder / name, "lp")
    (folder / "cupsd.conf").write_text(CUPSD.format(folder=folder))
    (folder / "cups-files.conf").write_text(FILES.format(folder=folder))
    files = ["-c", folder / "cupsd.conf", "-s", folder / "cups-files.conf"]
    process = subprocess.Popen(["/usr/sbin/cupsd", "-f", *files], env={"PATH": os.defpath})
    try:
        wait_until("cupsd listens", (folder / "cups.sock").exists)
        yield Cups(folder)
    finally:
        process.terminate()
        process.wait(10)
