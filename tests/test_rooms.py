"""Imports run down the map only: `docs/architecture.md` lists the rooms from the bottom up."""

import ast
from pathlib import Path

import pytest

import manyways

ROOT = Path(manyways.__file__).parent
ROOMS = (
    "errors",
    "files",
    "hub",
    "demonstrations",
    "latents",
    "networks",
    "clustering",
    "search",
    "policies",
    "rl",
    "algorithms",
    "tasks",
    "experts",
    "evaluation",
    "runs",
    "visual",
    "reproduce",
    "cli",
)
# Beside the order: a task knows no algorithm and no policy, algorithms and what is below know no task.
FORBIDDEN = {"tasks": {"networks", "clustering", "search", "policies", "rl", "algorithms"}}
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem in ROOMS)


def named(path):
    """Yield every name of a module of the package in a file: in imports, and in strings that could be one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            if node.module == "manyways":
                yield from ((f"manyways.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("manyways."):
            yield node.value, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_imported_from_above(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) - FORBIDDEN.get(room, set())
    for name, line in named(path):
        target = name.replace(":", ".").split(".")
        if target[0] == "manyways" and len(target) > 1 and target[1] in ROOMS:
            assert target[1] in allowed, f"{path}:{line} names {name}"


def test_the_map_lists_the_same_rooms_in_the_same_order():
    text = (ROOT.parents[1] / "docs" / "architecture.md").read_text()
    places = [text.index(f"| `{room}") for room in ROOMS]
    assert places == sorted(places)
