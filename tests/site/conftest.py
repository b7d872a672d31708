"""The built site in a browser: Debian's Chromium, driven by Playwright, with every request but those to files refused.

Without Chromium these tests are skipped, and one line says what to install; with VAELIB_BROWSER=required, as in CI,
they fail instead.
"""

import os
import shutil

import pytest
import run  # tools/run.py

SITE = run.ROOT / "build" / "site"
LOUD = ("error", "warning")
OWN = ("file:", "data:", "blob:", "about:")


@pytest.fixture(scope="session")
def site():
    """The folder of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail("there is no build/site: run `make site` first (`make test-site` does)")
    return SITE


@pytest.fixture(scope="session")
def browser():
    """Chromium, without a window."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        message = "no Chromium: `sudo apt-get install chromium fonts-dejavu` brings it, on Debian and Ubuntu"
        (pytest.fail if os.environ.get("VAELIB_BROWSER") == "required" else pytest.skip)(message)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser):
    """Makes pages that refuse every request but those to files; what went wrong on them is in `page.complaints`."""
    contexts = []

    def make(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = complaints = []

        def decide(route):
            if route.request.url.startswith(OWN):
                route.continue_()
            else:
                complaints.append(f"asks for {route.request.url}")
                route.abort()

        context.route("**/*", decide)
        page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}") if said.type in LOUD else None)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("requestfailed", lambda request: complaints.append(f"cannot load {request.url}"))
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page):
    """A page on which nothing may go wrong."""
    page = new_page()
    yield page
    assert page.complaints == []


@pytest.fixture
def open_page(site):
    """Opens a page of the site, `open_page(page, "ledger.html")`, and waits until its formulas are drawn."""

    def visit(page, name):
        path, _, rest = name.partition("?")
        page.goto((site / path).as_uri() + (f"?{rest}" if rest else ""))
        page.evaluate("async () => { await window.MathJax?.startup?.promise }")
        return page

    return visit
