"""The snippets of README and docs run as they stand, page by page, each page in a folder of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from data_sets import documented

from manyways.algorithms.training import CloningTraining

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if "```python" in page.read_text()]


def snippets(page):
    """Yield the line and the text of each snippet."""
    text = page.read_text()
    for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start()) + 1, found[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings("ignore")
def test_the_snippets_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch, demonstrations, labels):
    monkeypatch.chdir(tmp_path)
    # A few gradient steps show whether a snippet runs; what it learns is tested elsewhere.
    monkeypatch.setattr(CloningTraining, "iterations", property(lambda self: min(self.settings.iterations, 20)))
    demonstrations.save("demonstrations.npz", modes=labels)
    if page.stem == "your-data":
        documented(tmp_path)
    names = {"__name__": page.stem}
    for line, text in snippets(page):
        exec(compile("\n" * line + text, str(page), "exec"), names)


def test_readme_is_read_in_three_minutes():
    assert len((ROOT / "README.md").read_text().split()) <= 800


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target
    for target in re.findall(r"`((?:src|tests|benchmarks|results|docs)/[\w./-]+\.\w+)`", text):
        assert (ROOT / target).exists(), target


def test_tables_are_what_the_result_files_say():
    command = [sys.executable, ROOT / "benchmarks" / "write_results.py", "--check"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
