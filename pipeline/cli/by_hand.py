"""`spool hold`, `release`, `requeue` and `rm`, and `badmail rm`: decide about messages, each by itself."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.choices import Choice
from pipeline.cli.choosing import Chosen, chosen_in_badmail, counted, in_state, may_go_on, named
from pipeline.cli.invocation import Invocation
from pipeline.endings import CommandFailed, exit_code_of, line_of, say
from pipeline.exit_codes import ExitCode
from spool.by_hand import change
from spool.doorbell import ring
from spool.errors import SpoolError
from spool.journal import Outcome
from spool.layout import Stage
from spool.opening import Spool
from spool.queries import is_running
from spool.states import State
from spool.wishes import Wished


def hold_messages(invocation: Invocation, texts: Sequence[str]) -> int:
    """Set messages aside, and answer the exit code."""
    with invocation.reading() as spool:
        return _change(spool, named(spool, texts), asked=Outcome.HELD)


def release_messages(invocation: Invocation, texts: Sequence[str]) -> int:
    """Let held messages go on, or take a wish back, and answer the exit code."""
    with invocation.reading() as spool:
        return _change(spool, named(spool, texts), asked=Outcome.RELEASED)


def requeue_messages(invocation: Invocation, texts: Sequence[str], *, all_deferred: bool) -> int:
    """Have messages looked at and tried anew, now, and answer the exit code."""
    if bool(texts) == all_deferred:
        raise CommandFailed(ExitCode.USAGE, "name the messages, or give --all-deferred")
    with invocation.reading() as spool:
        chosen = in_state(spool, State.DEFERRED) if all_deferred else named(spool, texts)
        return _change(spool, chosen, asked=Outcome.REQUEUED)


def discard_messages(invocation: Invocation, texts: Sequence[str], *, yes: bool) -> int:
    """Throw messages of the queue away, once that is wanted, and answer the exit code."""
    with invocation.reading() as spool:
        return _discard(spool, named(spool, texts), yes=yes, is_badmail=False)


def discard_badmail(invocation: Invocation, choice: Choice, *, yes: bool) -> int:
    """Throw messages of Badmail away, with their files, and answer the exit code."""
    with invocation.reading() as spool:
        return _discard(spool, chosen_in_badmail(spool, choice), yes=yes, is_badmail=True)


def _discard(spool: Spool, chosen: Chosen, *, yes: bool, is_badmail: bool) -> int:
    what = counted(len(chosen.queue_ids), "message")
    where = " in Badmail" if is_badmail else ""
    if not chosen.queue_ids or not may_go_on(f"Throw away {what}{where}, for good?", yes=yes):
        return chosen.code
    return _change(spool, chosen, asked=Outcome.DISCARDED, is_badmail=is_badmail)


def _change(spool: Spool, chosen: Chosen, *, asked: Outcome, is_badmail: bool = False) -> int:
    code = chosen.code
    is_noted = False
    for one in change(spool, chosen.queue_ids, asked=asked, is_badmail=is_badmail):
        match one.came_of_it:
            case SpoolError() as error:
                say(line_of(error))
                code = exit_code_of(error)
            case Wished(wish=None):
                print(f"{one.queue_id}: taken back what was noted for the end of its attempt")
            case Wished():
                is_noted = True
                print(f"{one.queue_id} noted: {_when(spool)}, unless it was accepted")
            case State():
                print(f"{one.queue_id} {asked}")
    if is_noted:
        ring(spool, Stage.SUBMIT)
    if asked in (Outcome.RELEASED, Outcome.REQUEUED):
        ring(spool, Stage.VALIDATE)
    return code


def _when(spool: Spool) -> str:
    if is_running(spool, Stage.SUBMIT):
        return "takes effect when the attempt that is under way ends"
    return "takes effect when submit starts and settles the attempt that was under way"
