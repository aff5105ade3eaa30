"""Write those parts of the reference pages that the code knows: `python -m tests.docs.reference`.

A page marks such a part by `<!-- made: NAME -->` and `<!-- end -->`; what stands in between is replaced, all else is
written by hand.

**Invariants:** each part that the code has stands on one page, once, as it is made here; `test_reference` checks it.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import itertools
import os
import pkgutil
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from types import ModuleType

from pydantic import BaseModel

import pipeline
import spool
import stages
from pipeline.config.models import WithPassword
from pipeline.exit_codes import ExitCode
from spool.events import Event
from spool.states import TRANSITIONS, State, Trigger
from tests.docs.keys import keys, tables
from tests.docs.layout_paths import paths_of_layout
from tests.docs.markdown import REFERENCE, fill
from tests.docs.typed import Command, before_every_command, commands


def parts() -> dict[str, str]:
    """Every part by its name."""
    return {
        "options": _parameters(before_every_command()),
        **{f"command {command.words}": _command(command) for command in commands()},
        **{f"keys of {heading}": _keys(model) for heading, model in tables().items()},
        "keys of passwords": _keys(WithPassword),
        "exit codes": _exit_codes(),
        "paths": _table(("Path", "What it is"), ((f"`{path}`", said) for path, said in sorted(paths_of_layout()))),
        "states": _states(),
        "transitions": _transitions(),
        "diagram": _diagram(),
        **{f"events of {name}": _events(kinds) for name, kinds in event_kinds().items()},
    }


def event_kinds() -> dict[str, list[type[Event]]]:
    """All events, by the module that defines them, in its order."""
    found: dict[str, list[type[Event]]] = defaultdict(list)
    for module in _modules():
        for kind in vars(module).values():
            is_event = isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
            if is_event and kind.__module__ == module.__name__:
                found[module.__name__.removesuffix(".events")].append(kind)
    return found


def meanings(kind: type[enum.Enum]) -> dict[str, str]:
    """Member name to the docstring below it: those are for readers of the source, the class does not keep them."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    said = {}
    for member, below in itertools.pairwise(definition.body):
        match member, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                said[name] = text
    return said


def _modules() -> Iterator[ModuleType]:
    for package in (spool, stages, pipeline):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Alembic runs these; they cannot be imported by anybody else.
            if not found.name.startswith("spool.migrations"):
                yield importlib.import_module(found.name)


def _command(command: Command) -> str:
    synopsis = f"```text\n{command.synopsis}\n```"
    examples = "\n".join(["```sh", *command.examples, "```"])
    return "\n\n".join(filter(None, [synopsis, command.help, _parameters(command), examples]))


def _parameters(command: Command) -> str:
    return "\n".join(f"- `{parameter.shown}`: {parameter.help}" for parameter in command.parameters)


def _keys(model: type[BaseModel]) -> str:
    return _table(("Key", "Default", "Meaning"), ((f"`{key.name}`", key.default, key.meaning) for key in keys(model)))


def _exit_codes() -> str:
    return _table(("Code", "Name", "Meaning", "What to do"), itertools.starmap(_exit_code, meanings(ExitCode).items()))


def _exit_code(member: str, said: str) -> Sequence[str]:
    code = ExitCode[member]
    names = [name for name in dir(os) if name.startswith("EX_") and getattr(os, name) == code]
    meaning, _, what_to_do = said.partition("\n\n")
    return str(code), names[0] if names else "-", " ".join(meaning.split()), " ".join(what_to_do.split())


def _states() -> str:
    said = meanings(State)
    return _table(
        ("State", "Meaning", "Final"),
        ((f"`{state}`", said[state.name], "yes" if state.is_final else "") for state in State),
    )


def _transitions() -> str:
    edges: dict[tuple[Trigger, State], list[str]] = defaultdict(list)
    for (before, trigger), after in TRANSITIONS.items():
        edges[trigger, after].append(f"`{before}`" if before else "(none)")
    return _table(
        ("Trigger", "From", "To"),
        ((trigger.value, ", ".join(before), f"`{after}`") for (trigger, after), before in edges.items()),
    )


def _diagram() -> str:
    labels: dict[tuple[str, State], list[str]] = defaultdict(list)
    for (before, trigger), after in TRANSITIONS.items():
        labels[before or "[*]", after].append(trigger)
    lines = [f"{before} --> {after}: {' / '.join(triggers)}" for (before, after), triggers in labels.items()]
    lines += [f"{state} --> [*]" for state in State if state.is_final]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"])


def _events(kinds: Iterable[type[Event]]) -> str:
    return _table(("Event", "Level", "Meaning", "What to do", "Fields"), map(_event, kinds))


def _event(kind: type[Event]) -> Sequence[str]:
    meaning, what_to_do = said_of(kind)
    return f"`{kind.__name__}`", kind.level.word, meaning, what_to_do, _fields(kind)


def said_of(kind: type[Event]) -> tuple[str, str]:
    """What an event means and what to do about it: the two paragraphs of its docstring, a line each."""
    meaning, _, what_to_do = (inspect.getdoc(kind) or "").partition("\n\n")
    return " ".join(meaning.split()), " ".join(what_to_do.split())


def _fields(kind: type[Event]) -> str:
    of_all = {field.name for field in fields(Event)}
    return ", ".join(f"`{field.name}`" for field in fields(kind) if field.name not in of_all)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (titles, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(titles), *lines[1:]])


def rewrite(made: Mapping[str, str]) -> None:
    """Fill every page."""
    for page in REFERENCE.glob("*.md"):
        text = page.read_text()
        if (filled := fill(text, made)) != text:
            page.write_text(filled)


if __name__ == "__main__":
    rewrite(parts())
