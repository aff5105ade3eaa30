"""`badmail replay`: send refused messages again, with a mended envelope where one is given."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.choices import Choice
from pipeline.cli.choosing import chosen_in_badmail
from pipeline.cli.invocation import Invocation
from pipeline.endings import CommandFailed, exit_code_of, line_of, say
from pipeline.exit_codes import ExitCode
from spool import queries
from spool.doorbell import ring
from spool.errors import Damaged, ForbiddenTransition, NotFound
from spool.layout import Stage
from spool.replay import begin_replay
from stages.mail.addresses import Address, Malformed, NullPath, leading_path


def replay(
    invocation: Invocation, choice: Choice, *, sender: str | None, null_sender: bool, recipients: Sequence[str]
) -> int:
    """Replay messages one by one and answer the exit code; one that cannot be keeps none of the others back."""
    new_sender = _new_sender(sender, null_sender=null_sender)
    new_recipients = tuple(_recipient(text) for text in recipients) or None
    with invocation.reading() as spool:
        chosen = chosen_in_badmail(spool, choice)
        code = chosen.code
        for one in chosen.queue_ids:
            # Who says "all" means those that are not on their way already.
            if not choice.texts and queries.message(spool, one).replay_id:
                continue
            try:
                child = begin_replay(spool, one, sender=new_sender, recipients=new_recipients)
            except (NotFound, ForbiddenTransition, Damaged) as error:
                say(line_of(error))
                code = exit_code_of(error)
            else:
                print(f"{one} replayed as {child}")
        ring(spool, Stage.PICKUP)
    return code


def _new_sender(sender: str | None, *, null_sender: bool) -> str | None:
    if sender is not None and null_sender:
        raise CommandFailed(ExitCode.USAGE, "--sender and --null-sender exclude each other")
    if null_sender:
        return ""
    return None if sender is None else _reverse_path(sender)


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
