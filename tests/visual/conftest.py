import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser):
    """Return a page that fails the test on an error of its scripts, and on any address outside of this machine."""
    problems = []
    opened = browser.new_page(viewport={"width": 1366, "height": 800}, accept_downloads=True)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    local = ("file:", "blob:", "data:", "http://127.0.0.1")
    opened.on("request", lambda asked: asked.url.startswith(local) or problems.append(asked.url))
    yield opened
    opened.close()
    assert problems == []
