"""What another fetcher's configuration comes to: its POP3 maildrops, and what could not be carried over.

**Invariants:** every option that was read is in a `Mailbox`, in a `Note`, or means what ours does anyway. Passwords are
`Secret`, and no note repeats one.
**Failures:** `Unreadable`, with a line number, for a text that is no such configuration; any text gives that or an
answer, in time linear in its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pipeline.config import grammar
from stages.secret import Secret
from stages.settings import AuthMethod, RelayProtocol, TlsMode

SHORTEST_INTERVAL = timedelta(minutes=5)
LONGEST_INTERVAL = timedelta(hours=24)
_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


class Unreadable(Exception):
    """The text is no configuration of this fetcher; `line` counts from 1."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line
        self.text = text


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was not carried over as it stands there, with its line, counted from 1."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Where they submit to; `port` None: the usual one. A `host` that is an absolute path is a UNIX socket."""

    host: str
    port: int | None
    protocol: RelayProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a configuration lies: its directory, and the home of its user, which `~` stands for."""

    directory: Path
    home: Path

    def path(self, text: str) -> Path:
        """A path as it stands in the file."""
        if text == "~" or text.startswith("~/"):
            return self.home / text[2:]
        return self.directory / text


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One maildrop that they poll. `line` is where it begins, `name` what they call it.

    `local` is whom they deliver to, a local user or an address; it is None where they do not say, or where a header of
    each message decides (`is_multidrop`). `domain` completes it. `leave` is how long mail stays at the provider: zero,
    or None for ever. `command` prints the password, or the access token where `auth` takes one. `seen` are the places
    where their list of UIDLs may lie.
    """

    line: int
    name: str
    host: str
    username: str | None
    port: int | None = None
    tls: TlsMode = TlsMode.NONE
    auth: AuthMethod = AuthMethod.AUTO
    password: Secret | None = None
    command: str | None = None
    local: str | None = None
    domain: str | None = None
    is_multidrop: bool = False
    interval: timedelta | None = None
    leave: timedelta | None = timedelta(0)
    is_enabled: bool = True
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    fingerprints: tuple[str, ...] = ()
    min_version: str | None = None
    relay: Relay | None = None
    seen: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """A configuration of theirs, in the order of its lines."""

    mailboxes: tuple[Mailbox, ...]
    notes: tuple[Note, ...]


class Notes:
    """The notes while a text is read; one that was made is not made again."""

    def __init__(self) -> None:
        self._made: dict[Note, None] = {}

    def add(self, line: int, text: str) -> None:
        """Note something about a line."""
        self._made[Note(line=line, text=text)] = None

    def in_order(self) -> tuple[Note, ...]:
        """All of them, by line."""
        return tuple(sorted(self._made, key=lambda note: note.line))


def words(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


def interval_of(seconds: int, notes: Notes, *, line: int) -> timedelta | None:
    """A poll interval, where ours may be so long; None, with a note, where not."""
    interval = timedelta(seconds=min(max(seconds, 0), 10**9))
    if SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL:
        return interval
    notes.add(line, f"an interval of {seconds} s: ours is 5m to 24h, so fetch.interval counts")
    return None


def duration_text(duration: timedelta) -> str:
    """A duration as our configuration has it."""
    seconds = duration // timedelta(seconds=1)
    for unit, length in _UNITS:
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def fingerprint_of(text: str) -> str | None:
    """A SHA-256 fingerprint as ours is written; None for one of another kind."""
    digits = text.lower().replace(":", "").replace(" ", "")
    return f"sha256:{digits}" if len(digits) == 64 and set(digits) <= set("0123456789abcdef") else None


def name_of(username: str | None, server: str) -> str:
    """What to call a mailbox that has no name of its own: an address where there is one."""
    return username if username and "@" in username else "@".join(filter(None, (username, server)))


def tls_note(host: str) -> str | None:
    """What to say of a connection in the clear, unless it stays on the machine."""
    return None if is_local(host) else "no TLS, as there: see whether the server has it, and set tls"


def is_local(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return grammar.is_loopback(grammar.host(host))
    except ValueError:
        return False


def one_relay(mailboxes: Iterable[Mailbox]) -> Relay | None:
    """The relay that all of them submit to; None where there are several, or one of them has none."""
    relays = {mailbox.relay for mailbox in mailboxes}
    return relays.pop() if len(relays) == 1 else None
