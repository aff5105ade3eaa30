"""`pickup add`: put message files into Pickup, each looked at first as the stage will look at it.

**Invariants:** a file is in Pickup whole and durable, or not at all; one that cannot be sent keeps none of the others
back. Recipients are held to `pickup.accept_domains`, those of `--to` too: a file in Pickup does not tell who wrote its
first lines.
**Failures:** `CommandFailed` for wrong usage, `SpoolFailed` where the spool's disk says no.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from pipeline.cli.invocation import Invocation
from pipeline.cli.output import shown
from pipeline.endings import CommandFailed, say
from pipeline.exit_codes import ExitCode
from spool import queries
from spool.doorbell import ring
from spool.errors import NotFound, SpoolFailed
from spool.layout import Stage
from spool.opening import Spool
from spool.pickup import put_into_pickup
from spool.queue_id import QueueId
from spool.segments import LARGE_OCTETS, READ_OCTETS
from stages.mail.addresses import Address, Malformed, NullPath, leading_path
from stages.pickup.eml import TOP_OCTETS, PickupMessage, no_message, objection, read_top
from stages.pickup.injected import with_envelope
from stages.pickup.intake import recipients_had
from stages.settings import Settings

_STANDARD_INPUT = "-"


class _Refused(Exception):
    """A file cannot be put into Pickup; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What was given of the envelope; `sender` is "" for the null path, None where the file decides."""

    sender: str | None
    recipients: tuple[str, ...]

    @classmethod
    def given(cls, *, sender: str | None, has_null_sender: bool, recipients: Iterable[str]) -> Self:
        """Read it from the options; raises CommandFailed."""
        if has_null_sender and sender is not None:
            raise CommandFailed(ExitCode.USAGE, "give --sender or --null-sender, not both")
        path = None if sender is None else _address("--sender", sender)
        to = tuple(_address("--to", text) for text in recipients)
        if "" in to:
            raise CommandFailed(ExitCode.USAGE, "--to: the null path is no recipient")
        return cls(sender="" if has_null_sender else path, recipients=to)


def add(invocation: Invocation, files: Sequence[str], *, envelope: Envelope) -> int:
    """Put files into Pickup one by one, and answer the exit code."""
    settings = invocation.settings()
    code, count = ExitCode.OK, 0
    with invocation.reading() as spool:
        for name in files:
            told = "standard input" if name == _STANDARD_INPUT else name
            try:
                with _opened(name) as file:
                    put = _add(spool, settings, file=file, envelope=envelope)
            except (_Refused, OSError) as error:
                say(shown(f"{told}: {error.strerror if isinstance(error, OSError) else error}"))
                code = ExitCode.DATA
            else:
                count += 1
                print(shown(f"{told} is Pickup/{put.name}"))
        if count and not ring(spool, Stage.PICKUP):
            print("no pickup process runs: what was added waits for one")
    return code


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == _STANDARD_INPUT else open(name, "rb")


def _add(spool: Spool, settings: Settings, *, file: BinaryIO, envelope: Envelope) -> Path:
    """Put one file into Pickup; raises _Refused, OSError, SpoolFailed."""
    top = file.read(TOP_OCTETS)
    why = no_message(top)
    if not why:
        if envelope.sender is not None or envelope.recipients:
            top = with_envelope(top, sender=envelope.sender, recipients=envelope.recipients)
        found = read_top(top[:TOP_OCTETS])
        known = _known(spool, found.hint) if isinstance(found, PickupMessage) else None
        why = objection(found, accept_domains=settings.pickup.accept_domains, known=known) or ""
    if why:
        raise _Refused(why)
    pieces = _pieces(top, file)
    return put_into_pickup(spool, _within_room(spool, pieces, min_free_octets=settings.spool.min_free_octets))


def _known(spool: Spool, hint: QueueId | None) -> set[str] | None:
    """The recipients of the message that a file names; None where there is no such message."""
    if hint is None:
        return None
    try:
        return set(recipients_had(queries.message(spool, hint)))
    except NotFound:
        return None


def _pieces(top: bytes, file: BinaryIO) -> Iterator[bytes]:
    """All octets of a file; raises _Refused where it cannot be read."""
    piece = top
    while piece:
        yield piece
        try:
            piece = file.read(READ_OCTETS)
        except OSError as error:
            # Not to be taken for one of the spool's own disk.
            raise _Refused(error.strerror) from error


def _within_room(spool: Spool, pieces: Iterable[bytes], *, min_free_octets: int) -> Iterator[bytes]:
    """The same pieces; raises SpoolFailed where the disk becomes too full: standard input may have no end."""
    octets = 0
    for piece in pieces:
        octets += len(piece)
        if octets > LARGE_OCTETS and spool.free_octets() < min_free_octets:
            raise SpoolFailed("pickup: less is free on the disk than spool.min_free_space")
        yield piece


def _address(option: str, text: str) -> str:
    """An address as it was typed, with or without angle brackets; "" is the null path. Raises CommandFailed."""
    bare = text.removeprefix("<").removesuffix(">")
    match leading_path(f"<{bare}>".encode("utf-8", "surrogateescape")):
        case Address() as address:
            return str(address)
        case NullPath():
            return ""
        case Malformed(reason=reason):
            raise CommandFailed(ExitCode.USAGE, f"{option} {text!r}: {reason}")
