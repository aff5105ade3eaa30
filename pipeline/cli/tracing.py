"""`spool trace`: the life of a message, found by whatever is known of it.

**Invariants:** the names of JSON fields are a contract: none changes or goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.catalogue import naming_uidls
from pipeline.cli.naming import perhaps
from pipeline.cli.output import Cell, print_facts, print_json, print_table, reverse_path, rfc3339
from pipeline.cli.paging import paged
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.finding import Match, Matches, find, near
from spool.life import Life, life_of
from spool.opening import Spool
from spool.rows import reason_json


def trace(spool: Spool, words: Sequence[str], *, json: bool) -> None:
    """Tell the life of the message that is meant, or list those that may be; raises CommandFailed where none is."""
    what = " ".join(words)
    if not what.strip():
        raise CommandFailed(ExitCode.USAGE, "name a message by its queue id, UIDL, Message-ID or words of its subject")
    found = find(spool, what, naming_uidls=naming_uidls())
    if not found.count:
        raise CommandFailed(ExitCode.DATA, f"nothing is known of {what!r}{perhaps(what, near(spool, what))}")
    life = _one_life(spool, found)
    with paged():
        if json:
            print_json(_as_json(found, life))
        elif life is None:
            _list(found)
        else:
            _tell(life)


def _one_life(spool: Spool, found: Matches) -> Life | None:
    """The life that all matches share: one message, or one family, which begins with the oldest of them."""
    if found.count > len(found.newest):
        return None
    life = life_of(spool, found.newest[-1], naming_uidls=naming_uidls())
    is_one = found.count == 1 or all(match.queue_id in life.family for match in found.newest)
    return life if is_one else None


def _list(found: Matches) -> None:
    titles = ("id", "state", "account", "UIDL", "came", "from", "subject")
    print_table(titles, map(_row, found.newest), elastic="subject")
    print()
    some = f"{found.count} messages" if found.count == len(found.newest) else f"{found.count} messages, the newest"
    print(f"{some} are like it: name one, by its id or its UIDL")


def _row(match: Match) -> Sequence[Cell]:
    message = match.message
    sender = message.sender if message else None
    subject = message.subject if message else None
    return (
        match.queue_id,
        state_of(match),
        match.account,
        match.uidl.encoded,
        rfc3339(match.at),
        reverse_path(sender),
        subject,
    )


def state_of(match: Match) -> str:
    """The state of a message, or a word for one that has none."""
    if match.message:
        return match.message.state
    if match.left:
        return match.left.why
    if match.had:
        return "adopted" if match.had.is_adopted else "had"
    return "logged"


def _tell(life: Life) -> None:
    print_facts(_facts(life))
    if not life.changes:
        return
    print()
    has_kin = bool(life.kin)
    titles = ("at", "by", *(["id"] if has_kin else []), "event", "text")
    rows = (
        (
            rfc3339(change.at),
            change.process or None,
            *([change.queue_id or None] if has_kin else []),
            change.name,
            change.text,
        )
        for change in life.changes
    )
    print_table(titles, rows, elastic="text")


def _facts(life: Life) -> Iterator[tuple[str, Cell]]:
    match, message = life.match, life.match.message
    yield "id", match.queue_id
    yield "state", _said_state(match)
    yield "account", match.account or None
    yield "UIDL", match.uidl.encoded or None
    yield "octets", match.octets
    if message:
        yield "Message-ID", message.message_id or None
        yield "subject", message.subject or None
        yield "reverse-path", reverse_path(message.sender)
        yield "recipients", ", ".join(message.recipients) or None
        yield "reason", str(message.reason) if message.reason else None
    if life.had:
        yield "adopted" if life.had.is_adopted else "had", rfc3339(life.had.had_at)
        yield "gone from the maildrop", rfc3339(life.had.gone_at)
    if match.left:
        yield "limit", match.left.limit_octets
        yield "limit from", match.left.limit_source
        yield "broken sessions", match.left.breaks or None
    for kin in life.kin:
        yield "kin", f"{kin.queue_id} ({kin.message.state if kin.message else 'no row'}), {kin.relation} {kin.of}"


_SAID = {
    "had": "had; its row is no longer kept",
    "adopted": "at the provider, marked as had and never fetched",
    "oversize": "at the provider: larger than the limit",
    "broken": "at the provider: sessions broke in it",
    "logged": "not in the spool; events tell of it",
}


def _said_state(match: Match) -> str:
    state = state_of(match)
    return state if match.message else _SAID[state]


def _as_json(found: Matches, life: Life | None) -> dict[str, object]:
    return {
        "count": found.count,
        "matches": [_match_json(match) for match in found.newest],
        "life": None if life is None else _life_json(life),
    }


def _match_json(match: Match) -> dict[str, object]:
    message = match.message
    return {
        "id": match.queue_id,
        "state": state_of(match),
        "account": match.account or None,
        "uidl": match.uidl.encoded,
        "octets": match.octets,
        "at": rfc3339(match.at),
        "message_id": message.message_id if message else None,
        "subject": message.subject if message else None,
        "sender": message.sender if message else None,
    }


def _life_json(life: Life) -> dict[str, object]:
    match, message = life.match, life.match.message
    return {
        **_match_json(match),
        "recipients": list(message.recipients) if message else [],
        "reason": reason_json(message.reason) if message else None,
        "had_at": rfc3339(life.had.had_at) if life.had else None,
        "gone_at": rfc3339(life.had.gone_at) if life.had else None,
        "limit_octets": match.left.limit_octets if match.left else None,
        "breaks": match.left.breaks if match.left else 0,
        "kin": [
            {
                "id": kin.queue_id,
                "state": kin.message.state if kin.message else None,
                "relation": kin.relation,
                "of": kin.of,
            }
            for kin in life.kin
        ],
        "changes": [
            {
                "at": rfc3339(change.at),
                "process": change.process,
                "id": change.queue_id or None,
                "name": change.name,
                "level": change.level.word,
                "text": change.text,
            }
            for change in life.changes
        ],
    }
