"""What can be typed: every command of ours with its arguments and options, read from its declaration."""

from __future__ import annotations

import enum
import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from typer import Typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.models import ArgumentInfo, OptionInfo

from pipeline.cli.commands import app

NAME = "pop3connector"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An argument or option: as it stands in a synopsis, as `--help` lists it, and what that says of it."""

    synopsis: str
    shown: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command by the words behind `pop3connector`; none are those before every command. Examples are whole lines."""

    words: str
    help: str
    parameters: tuple[Parameter, ...]
    examples: tuple[str, ...]

    @property
    def synopsis(self) -> str:
        """The whole line."""
        return " ".join([NAME, *self.words.split(), *(parameter.synopsis for parameter in self.parameters)])


def before_every_command() -> Command:
    """The options that stand before the command."""
    callback = app.registered_callback
    assert callback is not None
    assert callback.callback is not None
    return _command("", callback.callback)


def commands() -> list[Command]:
    """All commands, in the order of `--help`."""
    return list(_commands(app, ""))


def require_valid(arguments: Sequence[str]) -> None:
    """Parse a command line without running it; raises what typer does for wrong usage, KeyError for no command."""
    command, rest = get_command(app), list(arguments)
    while isinstance(command, TyperGroup):
        command = command.commands[rest.pop(0)]
    command.make_context(NAME, rest)


def _commands(group: Typer, prefix: str) -> Iterator[Command]:
    for one in group.registered_commands:
        assert one.callback is not None
        yield _command(f"{prefix}{one.name or one.callback.__name__}", one.callback, epilog=one.epilog)
    for added in group.registered_groups:
        assert added.typer_instance is not None
        yield from _commands(added.typer_instance, f"{prefix}{added.typer_instance.info.name} ")


def _command(words: str, callback: Callable[..., object], *, epilog: str | None = None) -> Command:
    defaults = inspect.signature(callback).parameters
    found = []
    for name, hint in typing.get_type_hints(callback, include_extras=True).items():
        kind, *described = typing.get_args(hint) or [hint]
        for info in described:
            if isinstance(info, OptionInfo):
                found.append(_option(info, kind, name=name, default=defaults[name].default))
            elif isinstance(info, ArgumentInfo):
                found.append(_argument(info, kind, name=name))
    lines = tuple(line.strip() for line in (epilog or "").splitlines() if line.startswith("  "))
    return Command(words=words, help=inspect.getdoc(callback) or "", parameters=tuple(found), examples=lines)


def _option(info: OptionInfo, kind: object, *, name: str, default: object) -> Parameter:
    # In Annotated the first name that was given stands where the default would.
    flag = info.default if isinstance(info.default, str) else f"--{name}"
    shown = flag if kind is bool else f"{flag} {info.metavar or _choices(kind) or name.upper()}"
    said = f"{info.help} Default: `{default}`." if isinstance(default, str) else info.help or ""
    again = "..." if list[str] in typing.get_args(kind) else ""
    return Parameter(synopsis=f"[{shown}]{again}", shown=shown, help=said)


def _argument(info: ArgumentInfo, kind: object, *, name: str) -> Parameter:
    shown = info.metavar or _choices(kind) or name.upper()
    return Parameter(synopsis=shown, shown=shown, help=info.help or "")


def _choices(kind: object) -> str | None:
    return "|".join(kind) if isinstance(kind, type) and issubclass(kind, enum.StrEnum) else None
