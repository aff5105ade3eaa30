"""What submit tells the operator, beyond what becomes of each message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteClosed(Event):
    """The relay cannot be used: nothing is sent and no message is charged until a probe succeeds.

    Do what the line says; `pop3connector check --connect` tries the relay. Nothing is lost or bounced meanwhile.
    """

    level: ClassVar[Level] = Level.ERROR
    ended_by: ClassVar[str] = "RouteOpened"
    says: ClassVar[str] = "the relay cannot be used: {reason}"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOpened(Event):
    """The relay works again, and mail flows."""

    says: ClassVar[str] = "the relay works again"


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerConnections(Event):
    """The relay refuses one more connection while others work; submit makes do with those for a while.

    Nothing, or set `smtp.connections` to what the relay allows.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "the relay refuses a further connection beside {connections}: {reason}"
    figures: ClassVar[frozenset[str]] = frozenset({"connections"})
    connections: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalsInARow(Event):
    """The relay refuses one message after the other and accepts none: a mistake in its set-up or in ours is likely.

    Look at the replies in `badmail ls` and at the relay's own rules; then `badmail replay --all` sends them again.
    """

    level: ClassVar[Level] = Level.CRITICAL
    says: ClassVar[str] = "{refusals} messages in a row refused, the last: {reason}"
    refusals: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedWithNullPath(Event):
    """The relay refused the reverse-path; as configured the message is submitted with the null one.

    Nothing; `invalid_return_path = "badmail"` would refuse such messages instead.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "the relay refuses the reverse-path <{reverse_path}>, submitted with <>: {reason}"
    reverse_path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SummarySubmitted(Event):
    """The relay accepted a summary of Badmail; the next one follows in a day at the soonest."""

    says: ClassVar[str] = "told {recipient} of {messages} new messages in Badmail: {reply}"
    recipient: str
    messages: int
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryFailed(Event):
    """The relay did not accept the summary of Badmail; it is tried again in a day, and what it tells stays new.

    Check that the relay accepts mail to `submit.notify`.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{recipient} could not be told what is in Badmail: {reason}"
    recipient: str
    reason: str
