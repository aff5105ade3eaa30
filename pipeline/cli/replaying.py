"""`badmail replay`: send refused messages again, with a mended envelope where one is given."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.invocation import Invocation
from pipeline.cli.naming import message_named, typed_queue_id
from pipeline.endings import CommandFailed, exit_code_of, line_of, say
from pipeline.exit_codes import ExitCode
from spool import queries
from spool.doorbell import ring
from spool.errors import Damaged, ForbiddenTransition, NotFound
from spool.layout import Stage
from spool.replay import begin_replay
from spool.states import State
from stages.mail.addresses import Address, Malformed, NullPath, leading_path


def replay(
    invocation: Invocation, texts: Sequence[str], *, everything: bool, sender: str | None, recipients: Sequence[str]
) -> int:
    """Replay messages one by one and answer the exit code; one that cannot be keeps none of the others back."""
    if bool(texts) == everything:
        raise CommandFailed(ExitCode.USAGE, "name the messages, or give --all")
    new_sender = None if sender is None else _reverse_path(sender)
    new_recipients = tuple(_recipient(text) for text in recipients) or None
    named = [typed_queue_id(text) for text in texts]
    code: int = ExitCode.OK
    with invocation.reading() as spool:
        waiting = [one for one in queries.messages(spool, (State.BADMAIL,)) if one.replay_id is None]
        for wanted in named or [message.queue_id for message in waiting]:
            try:
                one = message_named(spool, wanted)
                child = begin_replay(spool, one, sender=new_sender, recipients=new_recipients)
            except (CommandFailed, NotFound, ForbiddenTransition, Damaged) as error:
                say(line_of(error))
                code = exit_code_of(error)
            else:
                print(f"{one} replayed as {child}")
        ring(spool, Stage.PICKUP)
    return code


def _reverse_path(text: str) -> str:
    match _parsed(text):
        case Address() as address:
            return str(address)
        case NullPath():
            return ""
        case malformed:
            raise CommandFailed(ExitCode.USAGE, f"--sender {text!r}: {malformed.reason}")


def _recipient(text: str) -> str:
    match _parsed(text):
        case Address() as address:
            return str(address)
        case NullPath():
            raise CommandFailed(ExitCode.USAGE, "--to: the null path is no recipient")
        case malformed:
            raise CommandFailed(ExitCode.USAGE, f"--to {text!r}: {malformed.reason}")


def _parsed(text: str) -> Address | NullPath | Malformed:
    bare = text.removeprefix("<").removesuffix(">")
    return leading_path(f"<{bare}>".encode("utf-8", "surrogateescape"))
