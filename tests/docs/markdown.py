"""Read the pages of the documentation: headings, tables, code blocks, links, and the parts that are made from the code.

The pages are Markdown in a plain form: ATX headings, tables whose cells hold no `|`, fenced or indented code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

_MADE = re.compile(r"(<!-- made: (?P<name>[^>]+?) -->\n).*?(<!-- end -->\n)", re.DOTALL)
_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^\|.*\n\|[-|]+\n(?P<rows>(?:\|.*\n)*)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)\s]+)\)")


def pages() -> list[Path]:
    """Every page: those at the root of the project and those below `docs`."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def made_parts(text: str) -> list[str]:
    """The names of the parts of a page that are made from the code."""
    return [found["name"] for found in _MADE.finditer(text)]


def fill(text: str, parts: Mapping[str, str]) -> str:
    """The page with its made parts made anew; raises KeyError for a part that nobody makes."""
    return _MADE.sub(lambda found: f"{found[1]}\n{parts[found['name']]}\n\n{found[3]}", text)


def sections(text: str) -> dict[str, str]:
    """Heading to text, for the headings of the second level."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """The rows of all tables, cell by cell, without the titles."""
    lines = [line for table in _TABLE.finditer(text) for line in table["rows"].splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code_of(text: str) -> list[str]:
    """What is in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return [found["code"] for found in _FENCED.finditer(text) if found["language"] == language]


def command_lines(text: str) -> Iterator[str]:
    """Every command line of ours: a line of `sh` or of indented code, or the whole of what is in backticks."""
    code = [line for block in blocks(text, "sh") for line in block.splitlines()]
    code += re.findall(r"^    (.+)$", text, re.MULTILINE)
    code += code_of(_FENCED.sub("", text))
    return (line for line in code if line.startswith("pop3connector "))


def links(text: str) -> list[str]:
    """The targets of all links but those in code."""
    return [found["target"] for found in _LINK.finditer(_FENCED.sub("", text))]


def anchors(text: str) -> set[str]:
    """What a link may name behind `#`, as forges derive it from headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
