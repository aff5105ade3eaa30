"""All pages: their links, their commands, their words."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.cli.main import run_command
from spool.layout import Stage
from spool.states import State
from tests.docs.markdown import DOCS, ROOT, anchors, blocks, command_lines, links, pages, rows
from tests.docs.typed import require_valid

PAGES = pages()
README = (ROOT / "README.md").read_text()


def shown(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), target


def test_every_page_is_linked_from_the_first_one() -> None:
    first = DOCS / "README.md"
    linked = {(first.parent / target).resolve() for target in links(first.read_text())}
    assert {page for page in DOCS.rglob("*.md") if page != first} <= linked


def test_the_readme_leads_to_the_documentation() -> None:
    assert "docs/README.md" in links(README)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_command_line_can_be_typed(page: Path) -> None:
    for line in command_lines(page.read_text()):
        require_valid(shlex.split(line)[1:])


def test_the_configuration_of_the_readme_passes_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = blocks(README, "toml")
    (tmp_path / "sales-isp.password").write_text("secret\n")
    (tmp_path / "sales-isp.password").chmod(0o600)
    (tmp_path / "pop3connector.toml").write_text(example.replace("/etc/pop3connector", str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POP3CONNECTOR_CONFIG", raising=False)
    assert run_command(["check"]) == 0
    assert capsys.readouterr().out == "the configuration is valid: 1 accounts, 1 enabled\n"


def glossary() -> list[str]:
    return [row[0] for row in rows((DOCS / "glossary.md").read_text())]


def test_the_glossary_has_each_word_once_in_order() -> None:
    words = glossary()
    assert len(set(words)) == len(words)
    assert [word.casefold() for word in words] == sorted(word.casefold() for word in words)


def test_the_glossary_has_every_state_and_every_stage() -> None:
    assert {*State, *Stage} - {State.BADMAIL} <= set(glossary())
    assert "Badmail" in glossary()
