"""The parts of the reference that are made from the code. `python -m tests.docs.reference` makes them anew."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline import catalogue
from pipeline.cli.main import run_command
from spool.events import Event, Level
from spool.states import State, Trigger
from tests.docs.markdown import REFERENCE, ROOT, fill, made_parts, rows, sections
from tests.docs.reference import event_kinds, meanings, parts, said_of
from tests.docs.typed import Command, before_every_command, commands

PAGES = sorted(REFERENCE.glob("*.md"))


def sources() -> list[str]:
    """The text of every module but the table of transitions."""
    paths = [path for package in ("spool", "stages", "pipeline") for path in (ROOT / package).rglob("*.py")]
    return [path.read_text() for path in paths if path != ROOT / "spool/states.py"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_a_page_says_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert fill(text, parts()) == text, "run: python -m tests.docs.reference"


def test_every_part_stands_on_one_page() -> None:
    """A command or an event that is new must be given its place."""
    placed = Counter(name for page in PAGES for name in made_parts(page.read_text()))
    assert placed == Counter(parts().keys())


@pytest.mark.parametrize("command", [before_every_command(), *commands()], ids=lambda command: command.words)
def test_the_options_are_those_of_the_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The pages are made from declarations; what typer makes of these is what people type."""
    assert run_command([*command.words.split(), "--help"]) == 0
    options = capsys.readouterr().out.partition("Options:\n")[2].partition("Commands:\n")[0]
    named = {parameter.shown.split()[0] for parameter in command.parameters}
    assert set(re.findall(r"^ +(--[\w-]+)", options, re.MULTILINE)) - {"--help"} == {
        name for name in named if name.startswith("--")
    }


def test_every_event_that_is_defined_is_found() -> None:
    """The text of the modules is a second witness: what one way of looking leaves out, the other has."""
    defined = [name for text in sources() for name in re.findall(r"^class (\w+)\(Event\):", text, re.MULTILINE)]
    assert sorted(kind.__name__ for kinds in event_kinds().values() for kind in kinds) == sorted(defined)


def test_every_event_says_what_it_means() -> None:
    """A dataclass without a docstring gets its signature for one."""
    for kinds in event_kinds().values():
        for kind in kinds:
            assert kind.__doc__
            assert not kind.__doc__.startswith(f"{kind.__name__}(")
            assert kind.__doc__ != Event.__doc__


@pytest.mark.parametrize("kind", [kind for kinds in event_kinds().values() for kind in kinds])
def test_every_event_that_warns_says_what_to_do(kind: type[Event]) -> None:
    meaning, what_to_do = said_of(kind)
    assert what_to_do or kind.level < Level.WARNING
    # A cell of a table is one line.
    assert "\n" not in meaning + what_to_do
    assert "|" not in meaning + what_to_do


def test_every_event_can_be_asked_for_by_its_name() -> None:
    assert catalogue.event_kinds() == {kind.__name__: kind for kinds in event_kinds().values() for kind in kinds}


def test_what_ends_a_trouble_is_an_event() -> None:
    kinds = catalogue.event_kinds()
    assert {kind.ended_by for kind in kinds.values()} <= {"", *kinds}


def test_every_state_says_what_it_means() -> None:
    assert meanings(State).keys() == {state.name for state in State}


def triggers() -> dict[str, str]:
    return {row[0]: row[1] for row in rows(sections((REFERENCE / "states.md").read_text())["Triggers"])}


def test_every_trigger_is_explained() -> None:
    assert list(triggers()) == list(Trigger)


def test_a_trigger_is_called_unused_when_nothing_uses_it() -> None:
    """The table has room for what commands of a later version do."""
    text = "".join(sources())
    unused = {trigger for trigger in Trigger if not re.search(rf"Trigger\.{trigger.name}\b", text)}
    assert {trigger for trigger, said in triggers().items() if said == "Not used by this version."} == unused
