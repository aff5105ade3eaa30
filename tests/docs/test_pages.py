"""All pages: their links, their commands, their words."""

from __future__ import annotations

import re
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


EXAMPLES = [(page, example) for page in PAGES for example in blocks(page.read_text(), "toml")]


@pytest.mark.parametrize("example", [pytest.param(example, id=shown(page)) for page, example in EXAMPLES])
def test_every_configuration_shown_passes_check(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for named in re.findall(r'_file = "/etc/pop3connector/(.+?)"', example):
        (tmp_path / named).write_text("secret\n")
        (tmp_path / named).chmod(0o600)
    (tmp_path / "pop3connector.toml").write_text(example.replace("/etc/pop3connector", str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POP3CONNECTOR_CONFIG", raising=False)
    monkeypatch.setenv("SALES_ISP_PASSWORD", "secret")
    assert run_command(["check"]) == 0
    accounts = example.count("[[accounts]]")
    assert capsys.readouterr().out == f"the configuration is valid: {accounts} accounts, {accounts} enabled\n"


def test_the_page_of_every_provider_shows_its_configuration() -> None:
    providers = {page.stem for page, _ in EXAMPLES if page.parent.name == "how-to"}
    assert providers >= {"gmail", "gmx", "microsoft-365", "plain-isp"}


def glossary() -> list[str]:
    return [row[0] for row in rows((DOCS / "glossary.md").read_text())]


def test_the_glossary_has_each_word_once_in_order() -> None:
    words = glossary()
    assert len(set(words)) == len(words)
    assert [word.casefold() for word in words] == sorted(word.casefold() for word in words)


def test_the_glossary_has_every_state_and_every_stage() -> None:
    assert {*State, *Stage} - {State.BADMAIL} <= set(glossary())
    assert "Badmail" in glossary()
