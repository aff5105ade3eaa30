"""What an operator may want to know of polls and of the messages that stay at the provider."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spool.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSucceeded(Event):
    """A poll took messages into custody. A poll that finds nothing new leaves no event; `status` has its time."""

    says: ClassVar[str] = (
        "polled: {messages} messages, {octets} octets in {seconds} s; {remote_messages} remain at the provider"
    )
    messages: int
    octets: int
    seconds: float
    remote_messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailed(Event):
    """A poll did not end well; what was taken into custody before stays, and the account is polled again, later each
    time.

    Do what the line says; `pop3connector probe ACCOUNT` shows the whole visit. What is temporary passes by itself.
    """

    level: ClassVar[Level] = Level.WARNING
    ended_by: ClassVar[str] = "AccountRecovered"
    says: ClassVar[str] = "poll failed: {error}"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecovered(Event):
    """An account whose polls failed works again."""

    says: ClassVar[str] = "polled again after {failures} failures"
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginsRefused(Event):
    """The server refused several logins in a row: user name or password are wrong, or it locks the account. It is tried
    again, but rarely, so as not to make it worse.

    Log in to the mailbox by other means; mend user name or password, then `retrieve-now` tries at once.
    """

    level: ClassVar[Level] = Level.ERROR
    ended_by: ClassVar[str] = "AccountRecovered"
    says: ClassVar[str] = "{refusals} logins in a row were refused; the next try is at {next_poll_at}: {error}"
    figures: ClassVar[frozenset[str]] = frozenset({"refusals", "next_poll_at"})
    refusals: int
    next_poll_at: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailWasThere(Event):
    """The first poll of an account that leaves its mail on the server found mail from before; it is fetched.

    Nothing, or where it was had already by other means, `accounts adopt` marks what is left of it as had.
    """

    says: ClassVar[str] = (
        "{messages} messages were there before the first poll and are fetched; "
        "`pop3connector accounts adopt {account}` marks what is there as had instead"
    )
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted(Event):
    """What a maildrop holds was marked as had, by the operator's wish: it is not fetched."""

    says: ClassVar[str] = "{messages} messages at the provider were marked as had"
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver(Event):
    """UIDLs from another fetcher's list were entered as had: such mail is not fetched."""

    says: ClassVar[str] = "{uidls} UIDLs that another fetcher had were entered as had; {known} were known"
    uidls: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOversize(Event):
    """A message is larger than the limit and stays at the provider; said once for each message.

    Raise the limit that is named, or fetch the message by other means and delete it there.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = (
        "left at the provider: UIDL {uidl}, {octets} octets, the limit is {limit_octets} ({limit_source})"
    )
    uidl: str
    octets: int
    limit_octets: int
    limit_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizesWait(Event):
    """Large messages wait at the provider because the relay has not yet told its size limit."""

    says: ClassVar[str] = "{messages} large messages wait until the relay tells its size limit"
    figures: ClassVar[frozenset[str]] = frozenset({"messages"})
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBroke(Event):
    """The session broke while this message was retrieved; it comes last from now on.

    Nothing yet: it is tried again in a session of its own.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "message {number}, UIDL {uidl}, broke the session ({breaks}): {error}"
    number: int
    uidl: str
    breaks: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDoubted(Event):
    """What came is not the message that was asked for, or not all of it: it was not taken and stays.

    Nothing yet: it is asked for again. Tell the provider, where it goes on.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "message {number}, UIDL {uidl}, was not taken ({breaks}): {doubt}"
    number: int
    uidl: str
    breaks: int
    doubt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBroken(Event):
    """A message broke three sessions, or was doubted in them: it stays at the provider and is tried once a day.

    Look at it in the provider's web mail, and move or delete it there; `status` lists what stays.
    """

    level: ClassVar[Level] = Level.ERROR
    says: ClassVar[str] = "left at the provider: UIDL {uidl} failed in {breaks} sessions; it is tried once a day"
    uidl: str
    breaks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRefused(Event):
    """The server would not give messages, or gave them without an octet; they stay and are asked for again.

    Look at them in the provider's web mail; what cannot be opened there either is the provider's to mend.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{messages} messages were not given (UIDL {uidls}): {reply}"
    figures: ClassVar[frozenset[str]] = frozenset({"messages", "uidls", "reply"})
    messages: int
    uidls: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionRefused(Event):
    """The server did not mark messages as deleted; they are in custody, and deletion is asked for again.

    Nothing, unless it goes on for days: then the provider has to mend the mailbox.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "{messages} deletions refused: {reply}"
    figures: ClassVar[frozenset[str]] = frozenset({"messages"})
    messages: int
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAgain(Event):
    """Messages that were in custody already were still shown; they were compared and, where wanted, only deleted."""

    says: ClassVar[str] = "{messages} messages were had already; {deletions} of them are deleted now"
    messages: int
    deletions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UidlReused(Event):
    """A UIDL that we know stands for another message now; that one is taken as new mail."""

    says: ClassVar[str] = "UIDL {uidl} stands for another message now"
    uidl: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UidlsDoubted(Event):
    """The server's UIDLs cannot be relied on: every message is downloaded and compared by content.

    Nothing; polls take longer. Where the provider has renumbered its mail it ends by itself.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "UIDLs are doubted ({reason}): all messages are compared by content"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FellOutOfStep(Event):
    """What came did not fit what was asked for; nothing unconfirmed was kept, the account goes on one by one.

    Nothing. Tell the provider that its server breaks RFC 1939, where it goes on.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "out of step: {error}; going on one by one"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingsDisagree(Event):
    """STAT, LIST and UIDL tell different numbers of messages; all that LIST or UIDL show are asked for.

    Nothing. Tell the provider that its server breaks RFC 1939, where it goes on.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "STAT tells {told} messages, LIST shows {listed}, UIDL {named}"
    figures: ClassVar[frozenset[str]] = frozenset({"told", "listed", "named"})
    told: int
    listed: int
    named: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UidlsOdd(Event):
    """The server's UIDLs are not what RFC 1939 section 7 allows; they are used all the same, or content decides.

    Nothing, as long as mail is to be deleted there; `leave_on_server` needs UIDLs that are good.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "UIDLs are odd: {what}"
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SizesInexact(Event):
    """LIST told a wrong size: from now on each message is confirmed by other questions to the server.

    Nothing; polls take a little longer.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "LIST told {told} octets where {came} came: its sizes are not relied on"
    figures: ClassVar[frozenset[str]] = frozenset({"told", "came"})
    told: str
    came: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBroke(Event):
    """A session ended early, with no message in hand: what it did not delete is compared and deleted in a later one.

    Nothing, unless it goes on: then look at the line to the provider, or raise `fetch.timeout`.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "a session ended early: {error}"
    figures: ClassVar[frozenset[str]] = frozenset({"error"})
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBroke(Event):
    """Nothing came any more, or the connection ended, with many messages asked for at once: one by one for a day.

    Nothing; polls take longer meanwhile. `fetch.timeout` may be too short for this server.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = (
        "the session broke with many messages asked for at once ({error}): going on one by one for a day"
    )
    figures: ClassVar[frozenset[str]] = frozenset({"error"})
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilitiesSkipped(Event):
    """The server hangs up when it is asked for its capabilities: it is not asked any more, nothing is pipelined.

    Nothing.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "the server hangs up on CAPA; it is not asked any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainTextLogin(Event):
    """The account logs in without TLS: whoever listens has its mail, and its password too unless the login is by a
    challenge mechanism (APOP, CRAM-MD5, SCRAM, NTLM).

    Set `tls` of the account, where the server has TLS; `probe` shows whether it offers it.
    """

    level: ClassVar[Level] = Level.WARNING
    says: ClassVar[str] = "logged in to {host} without TLS"
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPaused(Event):
    """The disk is nearly full: nothing is fetched until there is room; submission goes on.

    Make room, or move the spool to a larger disk; nothing is lost meanwhile.
    """

    level: ClassVar[Level] = Level.ERROR
    ended_by: ClassVar[str] = "FetchResumed"
    says: ClassVar[str] = "fetching is paused: {free_octets} octets are free, spool.min_free_space is {min_free_octets}"
    figures: ClassVar[frozenset[str]] = frozenset({"free_octets"})
    free_octets: int
    min_free_octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResumed(Event):
    """There is room again."""

    says: ClassVar[str] = "fetching goes on: {free_octets} octets are free"
    free_octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyFailed(Event):
    """The spool could not make messages durable: nothing of them was deleted at the provider, and fetch ends.

    Make the disk of the spool work again, then start the connector anew where it has ended.
    """

    level: ClassVar[Level] = Level.CRITICAL
    says: ClassVar[str] = "no custody: {error}"
    error: str
