"""Show one message: all that is known of it and what happened to it, its main header fields, its bytes.

**Invariants:** the names of JSON fields are a contract: none changes or goes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from pipeline.cli.listings import as_json, joined
from pipeline.cli.naming import message_named
from pipeline.cli.output import Cell, print_facts, print_json, print_table, reverse_path, rfc3339
from pipeline.cli.paging import paged
from pipeline.cli.plain_words import in_plain_words
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.spans import in_units
from spool import queries
from spool.badmail import message_start
from spool.content import badmail_pieces, injected_block, pieces
from spool.errors import Damaged
from spool.opening import Spool
from spool.rows import Message
from spool.states import State
from spool.wishes import not_in_badmail, standing_of
from stages.mail.headers import MAX_HEADER_OCTETS, for_people, scan

# The fields of a header that people ask for, by their names in JSON.
_FIELDS = {"from": "From", "to": "To", "subject": "Subject", "date": "Date", "message_id": "Message-ID"}


def show(spool: Spool, message: Message, *, json: bool) -> None:
    """Show all that is known of one message, and what happened to it."""
    events = queries.events(spool, queue_id=message.queue_id)
    header = _header(spool, message)
    with paged():
        if json:
            logged = [{"at": rfc3339(event.at), "name": event.name, "text": event.text} for event in events]
            said = {name: header.get(name) for name in _FIELDS}
            print_json({**as_json(message), **_more_json(message), "header": said, "events": logged})
            return
        print_facts(_facts(message))
        if header:
            print()
            print_facts((_FIELDS[name], text) for name, text in header.items())
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
        raise CommandFailed(ExitCode.DATA, f"message {message.queue_id} {not_in_badmail(standing_of(message))}")
    return message


def _header(spool: Spool, message: Message) -> dict[str, str]:
    """The main fields of its header, safe to print; none where its bytes are gone or cannot be read."""
    octets = b""
    try:
        for piece in _octets(spool, message, raw=False):
            octets += piece
            if len(octets) > MAX_HEADER_OCTETS:
                break
    except (CommandFailed, Damaged):
        pass
    found = scan(octets, frozenset(name.replace("_", "-").encode() for name in _FIELDS))
    said = {name: for_people(found, name.replace("_", "-").encode()) for name in _FIELDS}
    return {name: text for name, text in said.items() if text}


def _octets(spool: Spool, message: Message, *, raw: bool) -> Iterator[bytes]:
    if message.state is State.BADMAIL:
        # The file is the truth; one that no longer begins with our block is the message as a whole.
        yield from badmail_pieces(spool, message.queue_id, start=0 if raw else message_start(spool, message.queue_id))
    elif message.stored is None:
        raise CommandFailed(ExitCode.DATA, f"message {message.queue_id} is {message.state}: its bytes are gone")
    else:
        if raw:
            yield injected_block(spool, message.stored)
        yield from pieces(spool, message.stored)


def _facts(message: Message) -> Iterable[tuple[str, Cell]]:
    yield "id", message.queue_id
    yield "state", message.state
    yield "why", in_plain_words(message.reason)
    yield "reason", str(message.reason) if message.reason else None
    yield "account", message.account
    yield "UIDL", message.uidl.encoded
    yield "peer", message.peer
    yield "fetched", rfc3339(message.fetched_at)
    yield "changed", rfc3339(message.changed_at)
    yield "octets", message.octets if message.octets < 1000 else f"{message.octets} ({in_units(message.octets)})"
    yield "SHA-256", message.sha256.hex()
    yield "reverse-path", reverse_path(message.sender)
    yield "recipients", joined(message.recipients)
    for accepted in message.accepted:
        yield "accepted", f"{accepted['recipient']} at {accepted['at']}: {accepted['reply']}"
    yield "subject", message.subject
    yield "attempts", message.attempts
    yield "next attempt", rfc3339(message.next_attempt_at)
    yield "possible duplicate", "yes" if message.possible_duplicate else None
    yield "divided from", message.parent
    yield "replayed as", message.replay_id
    yield "to be, after the attempt", message.wish


def _more_json(message: Message) -> dict[str, object]:
    return {
        "peer": message.peer,
        "changed_at": rfc3339(message.changed_at),
        "sha256": message.sha256.hex(),
        "accepted": [dict(accepted) for accepted in message.accepted],
        "possible_duplicate": message.possible_duplicate,
        "parent": message.parent,
        "replay_id": message.replay_id,
        "wish": message.wish,
    }
