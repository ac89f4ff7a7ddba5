"""Debian's Chromium, driven by Playwright, in front of the built book."""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 812}


def chromium():
    """The browser's path, or a skip that says how to get one."""
    named = os.environ.get("LAB_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(
            "needs Chromium. Install it with: sudo apt-get install chromium, or set LAB_CHROMIUM to a browser's path"
        )
    return found


@pytest.fixture(scope="module")
def browser():
    """One browser for a file of tests; not for the session, since Playwright keeps an event loop running."""
    path = chromium()
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright. Install it with: ./lab setup")
    with playwright.sync_playwright() as api:
        running = api.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


class Visitor:
    """Opens pages of the book in a fresh profile; complains about script errors."""

    def __init__(self, html, browser):
        self.html, self._browser = html, browser

    @contextmanager
    def profile(self, **settings):
        """A profile that keeps what pages store; `visit` opens pages in it."""
        context = self._browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **settings})
        context.set_default_timeout(10_000)
        try:
            yield context
        finally:
            context.close()

    def visit(self, context, name):
        """Page `name` of the book, loaded; its script errors are collected in `page.failures`."""
        page = context.new_page()
        page.failures = []
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.goto(self.url(name), wait_until="load")
        return page

    def url(self, name):
        return (self.html / f"{name}.html").as_uri()

    @contextmanager
    def open(self, name, **settings):
        """A page in a profile of its own; fails when one of its scripts failed."""
        with self.profile(**settings) as context:
            page = self.visit(context, name)
            yield page
            assert not page.failures


@pytest.fixture
def visitor(browser, html):
    """`visitor.open("book/start/index")` gives a Playwright page."""
    return Visitor(html, browser)
