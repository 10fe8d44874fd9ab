"""A real browser: Chromium of the distribution, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from board_process import BoardProcess
from loop_drives import plug, plug_disk, real_drives_work
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

__all__ = ["plug", "plug_disk", "real_drives_work"]

CHROMIUM = shutil.which("chromium")
SIZE = {"width": 1920, "height": 1080}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip where there is no browser, but not where DRIVEPREP_BROWSER=1 says that there is."""
    if CHROMIUM is None and os.environ.get("DRIVEPREP_BROWSER") != "1":
        for item in items:
            if "/browser/" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="not installed: chromium"))


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium, without a sandbox of its own, which root has not."""
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


class Screen:
    """One browser that shows a board, and all that it asked for and complained of."""

    def __init__(self, browser: Browser, board: BoardProcess, **options: object) -> None:
        self.board = board
        self.context: BrowserContext = browser.new_context(**{"viewport": SIZE, **options})
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def open(self, path: str = "/", *kind: str) -> Page:
        """Open the link of a person who has just asked for it."""
        page = self.tab()
        page.goto(f"{self.board.origin}{path}#{self.board.token(*kind)}")
        expect(page.locator("#station")).not_to_have_text("driveprep")
        return page

    def tab(self) -> Page:
        """Return a new tab."""
        page = self.context.new_page()
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _heard(self, message: object) -> None:
        if message.type == "error":  # type: ignore[attr-defined]
            self.complaints.append(message.text)  # type: ignore[attr-defined]


@pytest.fixture
def screen(browser, board) -> Iterator[Callable[..., Screen]]:
    """Make a browser profile; nothing may be asked of another host, and nothing may go wrong."""
    made: list[Screen] = []

    def make(**options: object) -> Screen:
        made.append(Screen(browser, board, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
        foreign = [
            url for url in one.asked if not url.startswith((board.origin, "about:", "data:"))
        ]
        assert foreign == []
        assert one.complaints == []
