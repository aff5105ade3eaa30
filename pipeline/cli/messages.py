"""Show messages: the listings of the spool and of Badmail, one message in full, its bytes.

**Invariants:** the names of JSON fields are a contract: none changes or goes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from pipeline.cli.naming import message_named
from pipeline.cli.output import Cell, print_facts, print_json, print_table, reverse_path, rfc3339
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool import queries
from spool.badmail import read_badmail
from spool.content import badmail_pieces, injected_block, pieces
from spool.opening import Spool
from spool.rows import Message, reason_json
from spool.states import State


def as_json(message: Message) -> dict[str, object]:
    """A message as the listings' JSON has it."""
    return {
        "id": message.queue_id,
        "state": message.state,
        "account": message.account or None,
        "uidl": message.uidl.encoded,
        "octets": message.octets,
        "sender": message.sender,
        "recipients": list(message.recipients),
        "subject": message.subject,
        "fetched_at": rfc3339(message.fetched_at),
        "attempts": message.attempts,
        "next_attempt_at": rfc3339(message.next_attempt_at),
        "reason": reason_json(message.reason),
    }


def list_spool(spool: Spool, *, finished: bool, json: bool) -> None:
    """List what is not finished, or everything."""
    found = queries.messages(spool, frozenset(State)) if finished else queries.messages(spool)
    if json:
        print_json([as_json(message) for message in found])
        return
    titles = ("id", "state", "account", "octets", "sender", "recipients", "next attempt", "reason")
    print_table(titles, (_spool_row(message) for message in found), elastic="reason")


def list_badmail(spool: Spool, *, json: bool) -> None:
    """List what was refused, with its reason."""
    found = queries.messages(spool, (State.BADMAIL,))
    if json:
        print_json([as_json(message) for message in found])
        return
    titles = ("id", "account", "fetched", "sender", "recipients", "reason")
    print_table(titles, (_badmail_row(message) for message in found), elastic="reason")


def show(spool: Spool, message: Message, *, json: bool) -> None:
    """Show all that is known of one message, and what happened to it."""
    events = queries.events(spool, queue_id=message.queue_id)
    if json:
        logged = [{"at": rfc3339(event.at), "name": event.name, "text": event.text} for event in events]
        print_json({**as_json(message), **_more_json(message), "events": logged})
        return
    print_facts(_facts(message))
    if events:
        print()
        print_table(("at", "event", "text"), ((rfc3339(e.at), e.name, e.text) for e in events), elastic="text")


def cat(spool: Spool, message: Message, *, raw: bool) -> None:
    """Write a message to standard output as the provider sent it, or, `raw`, with its injected block."""
    out = sys.stdout.buffer
    for piece in _octets(spool, message, raw=raw):
        out.write(piece)
    out.flush()


def message_of(spool: Spool, text: str) -> Message:
    """The message that somebody typed the queue id of, or the beginning; raises CommandFailed."""
    return queries.message(spool, message_named(spool, text))


def in_badmail(spool: Spool, text: str) -> Message:
    """The Badmail message with this queue id; raises CommandFailed where it is elsewhere."""
    message = message_of(spool, text)
    if message.state is not State.BADMAIL:
        raise CommandFailed(ExitCode.DATA, f"message {message.queue_id} is not in Badmail: it is {message.state}")
    return message


def _octets(spool: Spool, message: Message, *, raw: bool) -> Iterator[bytes]:
    if message.state is State.BADMAIL:
        # The file is the truth; one that no longer begins with our block is the message as a whole.
        file = read_badmail(spool, message.queue_id)
        yield from badmail_pieces(spool, message.queue_id, start=0 if raw or file is None else file.end)
    elif message.stored is None:
        raise CommandFailed(ExitCode.DATA, f"message {message.queue_id} is {message.state}: its bytes are gone")
    else:
        if raw:
            yield injected_block(spool, message.stored)
        yield from pieces(spool, message.stored)


def _spool_row(message: Message) -> Sequence[Cell]:
    return (
        message.queue_id,
        message.state,
        message.account,
        message.octets,
        reverse_path(message.sender),
        _joined(message.recipients),
        rfc3339(message.next_attempt_at),
        str(message.reason) if message.reason else None,
    )


def _badmail_row(message: Message) -> Sequence[Cell]:
    return (
        message.queue_id,
        message.account,
        rfc3339(message.fetched_at),
        reverse_path(message.sender),
        _joined(message.recipients),
        str(message.reason) if message.reason else None,
    )


def _facts(message: Message) -> Iterable[tuple[str, Cell]]:
    yield "id", message.queue_id
    yield "state", message.state
    yield "reason", str(message.reason) if message.reason else None
    yield "account", message.account
    yield "UIDL", message.uidl.encoded
    yield "peer", message.peer
    yield "fetched", rfc3339(message.fetched_at)
    yield "changed", rfc3339(message.changed_at)
    yield "octets", message.octets
    yield "SHA-256", message.sha256.hex()
    yield "reverse-path", reverse_path(message.sender)
    yield "recipients", _joined(message.recipients)
    for accepted in message.accepted:
        yield "accepted", f"{accepted['recipient']} at {accepted['at']}: {accepted['reply']}"
    yield "subject", message.subject
    yield "attempts", message.attempts
    yield "next attempt", rfc3339(message.next_attempt_at)
    yield "possible duplicate", "yes" if message.possible_duplicate else None
    yield "divided from", message.parent
    yield "replayed as", message.replay_id


def _more_json(message: Message) -> dict[str, object]:
    return {
        "peer": message.peer,
        "changed_at": rfc3339(message.changed_at),
        "sha256": message.sha256.hex(),
        "accepted": [dict(accepted) for accepted in message.accepted],
        "possible_duplicate": message.possible_duplicate,
        "parent": message.parent,
        "replay_id": message.replay_id,
    }


def _joined(recipients: Sequence[str]) -> str | None:
    return ", ".join(recipients) or None
