"""`spool release` and `spool rm`: decide about single messages that wait for the operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.cli.invocation import Invocation
from pipeline.cli.naming import message_named, typed_queue_id
from pipeline.endings import CommandFailed, exit_code_of, line_of, say
from pipeline.exit_codes import ExitCode
from spool.by_hand import discard, release
from spool.doorbell import ring
from spool.errors import ForbiddenTransition, NotFound
from spool.layout import Stage
from spool.opening import Spool
from spool.queue_id import QueueId


def release_messages(invocation: Invocation, texts: Sequence[str]) -> int:
    """Let held messages go on, one by one, and answer the exit code."""
    with invocation.reading() as spool:
        code = _each(spool, texts, act=release, done="released")
        ring(spool, Stage.VALIDATE)
    return code


def discard_messages(invocation: Invocation, texts: Sequence[str]) -> int:
    """Throw messages away, one by one, and answer the exit code."""
    with invocation.reading() as spool:
        return _each(spool, texts, act=discard, done="discarded")


def _each(spool: Spool, texts: Sequence[str], *, act: Callable[[Spool, QueueId], None], done: str) -> int:
    """Do it to each message; one to which it cannot be done keeps none of the others back."""
    code: int = ExitCode.OK
    for wanted in [typed_queue_id(text) for text in texts]:
        try:
            one = message_named(spool, wanted)
            act(spool, one)
        except (CommandFailed, NotFound, ForbiddenTransition) as error:
            say(line_of(error))
            code = exit_code_of(error)
        else:
            print(f"{one} {done}")
    return code
