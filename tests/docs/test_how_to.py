"""The how-to pages: what they tell to write is a valid configuration, and what they tell to type exists."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pipeline.config import ConfigurationError, parse
from tests.docs.markdown import DOCS, blocks

PAGES = sorted((DOCS / "how-to").glob("*.md"))
CONFIGURATIONS = [(page, block) for page in PAGES for block in blocks(page.read_text(), "toml")]


def test_each_kind_of_provider_has_its_page() -> None:
    assert {page.stem for page in PAGES} >= {"gmail", "microsoft-365", "gmx", "plain-isp"}


@pytest.mark.parametrize(("page", "block"), CONFIGURATIONS, ids=[page.stem for page, _ in CONFIGURATIONS])
def test_what_is_to_be_written_is_a_valid_configuration(page: Path, block: str, tmp_path: Path) -> None:
    """But for the files that it names: each is made here, as the page tells to."""
    for key, name in files_of(tomllib.loads(block)):
        file = tmp_path / Path(name).name
        file.write_text("secret")
        file.chmod(0o600)
        block = block.replace(f'{key} = "{name}"', f'{key} = "{file}"')
    assert parse(block.encode(), tmp_path / "pop3connector.toml").accounts


def files_of(table: dict[str, object]) -> list[tuple[str, str]]:
    """Every key of the file that names a file of secrets, and the file."""
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += files_of(value)
        elif isinstance(value, list):
            found += [pair for item in value if isinstance(item, dict) for pair in files_of(item)]
        elif key.endswith("_file"):
            found.append((key, str(value)))
    return found


def test_a_key_that_does_not_exist_would_be_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown key"):
        parse(b"[[accounts]]\nname = 'a'\ntsl = 'none'\n", tmp_path / "pop3connector.toml")
