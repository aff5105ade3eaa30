"""Find the messages that a command is to act on, and ask before what cannot be undone.

**Invariants:** what was typed is looked at whole before anything is done; a queue id that names nothing keeps none of
the others back. Nothing is thrown away unasked: without a terminal `--yes` is needed.
**Failures:** `CommandFailed` for wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pipeline.cli.asking import Questions
from pipeline.cli.choices import Choice
from pipeline.cli.naming import message_named, typed_queue_id
from pipeline.config.grammar import duration
from pipeline.endings import CommandFailed, exit_code_of, line_of, say
from pipeline.exit_codes import ExitCode
from spool.opening import Spool
from spool.queue_id import QueueId
from spool.search import Search, Since, search
from spool.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The messages that were found; `code` is not 0 where one that was named was not, which has been said then."""

    queue_ids: tuple[QueueId, ...]
    code: int = ExitCode.OK


def named(spool: Spool, texts: Sequence[str]) -> Chosen:
    """The messages of these queue ids; raises CommandFailed where one cannot be a queue id."""
    found: dict[QueueId, None] = {}
    code: int = ExitCode.OK
    for wanted in [typed_queue_id(text) for text in texts]:
        try:
            found[message_named(spool, wanted)] = None
        except CommandFailed as error:
            say(line_of(error))
            code = exit_code_of(error)
    return Chosen(queue_ids=tuple(found), code=code)


def in_state(spool: Spool, state: State) -> Chosen:
    """All messages in a state."""
    return _found(spool, Search(states={state}), none=f"No message is {state}.")


def chosen_in_badmail(spool: Spool, choice: Choice, *, is_all_meant: bool = False) -> Chosen:
    """The messages of Badmail that are meant; where nothing was said all, or none: raises CommandFailed."""
    if sum([bool(choice.texts), choice.everything, choice.is_narrow]) > 1:
        raise CommandFailed(
            ExitCode.USAGE, "name the messages, or give --all, or say which by --reason and --older-than"
        )
    if choice.is_empty and not is_all_meant:
        raise CommandFailed(ExitCode.USAGE, "name the messages, or give --all, --reason or --older-than")
    if choice.texts:
        return named(spool, choice.texts)
    wanted = Search(
        states={State.BADMAIL}, reason=choice.reason, older_than=_age(choice.older_than), since=Since.CHANGED
    )
    return _found(spool, wanted, none="No message in Badmail fits." if choice.is_narrow else "Badmail is empty.")


def may_go_on(question: str, *, yes: bool) -> bool:
    """Whether the operator wants it: asked on a terminal, else `--yes` must say so; raises CommandFailed."""
    if yes:
        return True
    ask = Questions.at_terminal()
    if not ask.is_answered:
        raise CommandFailed(ExitCode.USAGE, f"{question} Nobody can be asked without a terminal: give --yes")
    if ask.confirms(question):
        return True
    print("Nothing was changed.")
    return False


def counted(number: int, what: str) -> str:
    """A number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _found(spool: Spool, wanted: Search, *, none: str) -> Chosen:
    queue_ids = tuple(message.queue_id for message in search(spool, wanted))
    if not queue_ids:
        print(none)
    return Chosen(queue_ids=queue_ids)


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return duration(text)
    except ValueError as error:
        raise CommandFailed(ExitCode.USAGE, f"--older-than: {error}") from None
