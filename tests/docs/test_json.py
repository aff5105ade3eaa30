"""The fields of every `--json`, which other people's programs rely on."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.cli.main import run_command
from spool.layout import Stage
from spool.opening import open_spool, take_stage
from spool.queue_id import QueueId
from spool.states import State
from tests.docs.markdown import REFERENCE, code_of, rows, sections
from tests.docs.sample_servers import NAMES, sample_servers
from tests.docs.sample_spool import ACCOUNT, READY, REFUSED, make_sample
from tests.docs.typed import commands
from tests.support.attempts import submitting
from tests.support.by_hand import hold_back
from tests.support.connector import account, configure
from tests.support.processes import free_port

Types = Mapping[str, frozenset[str]]
Printed = Callable[[str], list[object]]

PAGE = sections((REFERENCE / "json.md").read_text())
# Their members are the states, or what an event has; the page says so.
_BY_STATE, _FREE = "states", "fields"
# Below the first of the places: a configuration for the same spool, whose accounts are not polled.
RETIRED = "retired"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def documented(heading: str) -> Types:
    """Field to types, as the section has them."""
    text = PAGE[heading]
    inherited = documented("`spool ls`, `badmail ls`") if "the fields above" in text else {}
    return {**inherited, **{code_of(field)[0]: frozenset(types.split(" or ")) for field, types, _ in rows(text)}}


def fields(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every field of an object with its type, those of what lies inside it too."""
    if isinstance(value, dict):
        for key, member in value.items():
            name = prefix + ("<state>" if prefix == f"{_BY_STATE}." and key in set(State) else key)
            yield name, kind_of(member)
            if name != _FREE:
                yield from fields(member, f"{name}.")
    elif isinstance(value, list):
        for member in value:
            yield from fields(member, f"{prefix.removesuffix('.')}[]." if prefix else "")


def kind_of(value: object) -> str:
    """The type of a value in the words of the page; of an empty list only that it is one."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case str():
            return "time" if _TIME.fullmatch(value) else "string"
        case dict():
            return "object"
        case [first, *_]:
            return f"list of {kind_of(first)}s"
        case []:
            return "list"
        case _:
            raise AssertionError(value)


def observed(values: list[object]) -> Types:
    """Field to all types that it was seen with."""
    seen: dict[str, set[str]] = defaultdict(set)
    for value in values:
        for name, kind in fields(value):
            seen[name].add(kind)
    return {name: frozenset(kinds - {"list"}) for name, kinds in seen.items()}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Connectors: with a spool in which much has happened, with an empty one, with one whose index is lost."""
    much, nothing, lost = (tmp_path_factory.mktemp(name) for name in ("much", "nothing", "lost"))
    for place in (nothing, lost):
        configure(place, smtp_port=free_port(), accounts=[account(ACCOUNT, free_port()), account("other", free_port())])
        open_spool(place / "spool").close()
    (lost / "spool/index.sqlite3").write_bytes(b"")
    sample = make_sample(much)
    (sample.layout.pickup / "x.EML").touch()
    sample.layout.badmail_message(QueueId("0" * 18)).write_bytes(b"a problem for `spool verify`")
    refused = sample.layout.badmail_message(REFUSED)
    refused.write_bytes(refused.read_bytes() + b"a remark")
    with submitting(sample) as outbox:
        outbox.claim(1)
        hold_back(sample, READY)
    with sample_servers(much) as servers, take_stage(sample, Stage.VALIDATE):  # so that a stage has a process
        hasty, trap = {"final_dot_timeout": "1m"}, {"max_message_size": 10**7}
        configure(much, smtp_port=servers.smtp_port, accounts=servers.accounts, smtp=hasty, fetch=trap)
        (much / RETIRED).mkdir()
        same = {"directory": str(much / "spool")}
        configure(much / RETIRED, smtp_port=servers.smtp_port, accounts=servers.disabled, spool=same)
        yield [much, nothing, lost]
    sample.close()


@pytest.fixture
def printed(places: list[Path], capsys: pytest.CaptureFixture[str]) -> Printed:
    """All that a command prints with `--json`, about every message where it is about one."""

    def ask(*arguments: str, where: Sequence[Path] = places) -> list[object]:
        found: list[object] = []
        for place in where:
            run_command(["--config", str(place / "pop3connector.toml"), *arguments, "--json"])
            text = capsys.readouterr().out
            # A message is in one of the spools: about the others nothing is printed.
            found += map(json.loads, text.splitlines() if arguments[0] == "events" else filter(None, [text]))
        return found

    def ask_for(words: str) -> list[object]:
        command = words.split()
        match command:
            case ["spool", "ls"]:
                return ask(*command, "--all")
            case ["check"]:
                return [*ask(*command), *ask(*command, "--connect")]
            case ["accounts", "show"]:
                return [told for name in NAMES for told in ask(*command, name)]
            case ["accounts", "test"]:
                return ask(*command, "--all")
            case ["accounts", "retire"]:
                return [
                    told for name in (ACCOUNT, "empty") for told in ask(*command, name, where=[places[0] / RETIRED])
                ]
            case ["probe"]:
                return [told for name in NAMES for told in ask(*command, name)]
            case ["events"]:
                return ask(*command, "--level", "debug")
            case ["spool", "trace"]:
                listed = [one for found in ask_for("spool ls") if isinstance(found, list) for one in found]
                # Several messages at once, and some that are not in the spool.
                return [
                    told for what in (*(one["id"] for one in listed), "hello", *"789") for told in ask(*command, what)
                ]
            case [folder, "show"]:
                listed = [one for found in ask_for(f"{folder} ls") if isinstance(found, list) for one in found]
                return [shown for one in listed for shown in ask(*command, one["id"])]
            case _:
                return ask(*command)

    return ask_for


def test_every_listing_has_its_section() -> None:
    listings = {one.words for one in commands() if any(given.shown == "--json" for given in one.parameters)}
    assert {words for heading in PAGE for words in code_of(heading)} == listings


@pytest.mark.parametrize("heading", PAGE)
def test_the_fields_of_a_listing_are_those_of_its_section(heading: str, printed: Printed) -> None:
    """What is inside a list may be missing where that is empty."""
    told = documented(heading).keys()
    for words in code_of(heading):
        assert {name for name in told if "[]" not in name} <= observed(printed(words)).keys() <= told


@pytest.mark.parametrize("heading", PAGE)
def test_a_field_has_the_types_that_its_section_gives(heading: str, printed: Printed) -> None:
    """Each of them, and no other."""
    assert observed([value for words in code_of(heading) for value in printed(words)]) == documented(heading)
