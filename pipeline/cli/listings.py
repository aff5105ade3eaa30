"""List messages: `spool ls` and `badmail ls`.

**Invariants:** the names of JSON fields are a contract: none changes or goes. What is listed is printed while it is
read; a hundred thousand messages are one second, and the first screen of them is not waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from pipeline.cli import terminal
from pipeline.cli.invocation import Invocation
from pipeline.cli.naming import known_account
from pipeline.cli.options import SortWord, StateWord
from pipeline.cli.output import Cell, moment, print_json_list, print_table, reverse_path, rfc3339
from pipeline.cli.paging import paged
from pipeline.cli.plain_words import in_plain_words
from pipeline.cli.terminal import Style
from pipeline.config.grammar import duration
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from pipeline.spans import in_units
from spool.opening import Spool
from spool.rows import Message, reason_json
from spool.search import WAITING, Listed, Search, Since, Sort, listing
from spool.states import State

_STYLES = {
    State.READY: Style.GREEN,
    State.DEFERRED: Style.YELLOW,
    State.HELD: Style.YELLOW,
    State.DAMAGED: Style.RED,
    State.BADMAIL: Style.RED,
}


def as_json(message: Message | Listed) -> dict[str, object]:
    """A message as the listings' JSON has it."""
    return {
        "id": message.queue_id,
        "state": message.state,
        "account": message.account or None,
        "uidl": message.uidl if isinstance(message.uidl, str) else message.uidl.encoded,
        "octets": message.octets,
        "sender": message.sender,
        "recipients": list(message.addressees if isinstance(message, Message) else message.recipients),
        "subject": message.subject,
        "fetched_at": rfc3339(message.fetched_at),
        "attempts": message.attempts,
        "next_attempt_at": rfc3339(message.next_attempt_at),
        "reason": reason_json(message.reason),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was typed for a listing, as `Search` has it; ages are durations as in the configuration."""

    account: str | None
    sender: str | None
    recipient: str | None
    subject: str | None
    reason: str | None
    older_than: str | None
    newer_than: str | None
    sort: SortWord
    limit: int | None


def list_spool(
    invocation: Invocation, asked: Asked, *, states: Collection[StateWord], everything: bool, json: bool
) -> None:
    """List messages of the spool: of some states, or of all, or what is not finished."""
    if states and everything:
        raise CommandFailed(ExitCode.USAGE, "--all has every state: give it or --state")
    chosen = frozenset(State) if everything else frozenset(map(State, states)) or WAITING
    with invocation.reading() as spool, paged():
        found = listing(spool, _search(asked, invocation, spool=spool, states=chosen))
        if json:
            print_json_list(map(as_json, found))
            return
        now = spool.now() if terminal.is_terminal() else None
        print_table(
            ("id", "state", "account", "octets", "sender", "recipients", "next attempt", "subject", "reason"),
            (_spool_row(message, now) for message in found),
            elastic="reason",
            spare=("octets", "account", "recipients", "subject", "next attempt"),
            right=("octets",),
            tints={"state": state_style},
        )


def list_badmail(invocation: Invocation, asked: Asked, *, json: bool) -> None:
    """List what was refused, with its reason; ages count from the refusal."""
    with invocation.reading() as spool, paged():
        states = frozenset({State.BADMAIL})
        found = listing(spool, _search(asked, invocation, spool=spool, states=states, since=Since.CHANGED))
        if json:
            print_json_list(map(as_json, found))
            return
        now = spool.now() if terminal.is_terminal() else None
        print_table(
            ("id", "account", "refused", "sender", "recipients", "subject", "reason"),
            (_badmail_row(message, now) for message in found),
            elastic="reason",
            spare=("account", "recipients", "subject", "refused"),
        )


def state_style(state: str) -> Style | None:
    """What a state is painted in: what goes on by itself, what waits, what somebody must look at."""
    return _STYLES.get(State(state))


@lru_cache(maxsize=1024)
def joined(recipients: Sequence[str]) -> str | None:
    """Recipients for a cell."""
    return ", ".join(recipients) or None


def _search(
    asked: Asked, invocation: Invocation, *, spool: Spool, states: Collection[State], since: Since = Since.FETCHED
) -> Search:
    return Search(
        states=states,
        account=None if asked.account is None else known_account(spool, asked.account, settings=invocation.settings()),
        sender=asked.sender,
        recipient=asked.recipient,
        subject=asked.subject,
        reason=asked.reason,
        older_than=_age("--older-than", asked.older_than),
        newer_than=_age("--newer-than", asked.newer_than),
        since=since,
        sort=Sort(asked.sort.value),
        limit=asked.limit,
    )


def _age(option: str, text: str | None) -> timedelta | None:
    try:
        return None if text is None else duration(text)
    except ValueError as error:
        raise CommandFailed(ExitCode.USAGE, f"{option}: {error}") from None


def _spool_row(message: Listed, now: datetime | None) -> Sequence[Cell]:
    return (
        message.queue_id,
        message.state,
        message.account,
        message.octets if now is None else in_units(message.octets),
        reverse_path(message.sender),
        joined(message.recipients),
        moment(message.next_attempt_at, now),
        message.subject,
        in_plain_words(message.reason),
    )


def _badmail_row(message: Listed, now: datetime | None) -> Sequence[Cell]:
    return (
        message.queue_id,
        message.account,
        moment(message.changed_at, now),
        reverse_path(message.sender),
        joined(message.recipients),
        message.subject,
        in_plain_words(message.reason),
    )
