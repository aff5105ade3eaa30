"""Rules of the house that ruff cannot see: it resolves names, not the type of what a method is called on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for package in ("pipeline", "stages", "spool") for path in (ROOT / package).rglob("*.py"))


def calls_that_change_names(tree: ast.AST) -> list[int]:
    """Lines of `.unlink()`, `.rename()`, `.hardlink_to()`, and of `.replace(x)`, with one argument not str's."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            node.func.attr in ("unlink", "rename", "hardlink_to")
            or (node.func.attr == "replace" and len(node.args) == 1 and not node.keywords)
        )
        and not ast.unparse(node.func.value).endswith("disk")  # the module, or the instance that a class was given
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_disk_module_renames_and_unlinks(path: Path) -> None:
    """Each of these needs a sync in the right order; one module knows it."""
    if path.relative_to(ROOT) != Path("spool/disk.py"):
        assert calls_that_change_names(ast.parse(path.read_bytes())) == []


def test_the_search_finds_what_it_looks_for() -> None:
    wrong = "path.unlink()\nPath(a).rename(b)\ntmp.replace(final)\n"
    right = "text.replace(a, b)\ndisk.unlink(path)\nself._disk.rename(a, b)\n"
    assert calls_that_change_names(ast.parse(wrong + right)) == [1, 2, 3]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_what_it_is_for_and_stays_readable(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 450


def test_nothing_that_reads_mail_splits_lines_as_python_does() -> None:
    """RFC 5322 section 2.2: a line ends in CRLF. `splitlines` sees ends at NEL, form feeds and group separators too."""
    readers = (
        "stages/mail",
        "stages/smtp",
        "stages/pop3",
        "stages/validate",
        "stages/submit",
        "stages/pickup",
        "spool",
    )
    reading = [path for path in SOURCES if str(path.relative_to(ROOT)).startswith(readers)]
    found = [path for path in reading if ".splitlines(" in path.read_text() and path != ROOT / "spool/opening.py"]
    assert found == []  # spool/opening.py reads the kernel's list of mounts
    assert len(reading) > 50
