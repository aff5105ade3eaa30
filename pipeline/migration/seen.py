"""The lists of UIDLs that other fetchers have seen.

- fetchmail's `.fetchids`: a line `user@host UIDL` for each. A user may have `@` and blanks in it, a UIDL `@`.
- getmail's `oldmail-HOST-PORT-USER`, a file for each mailbox: a line of UIDL, NUL and a time. It has a hyphen wherever
  the UIDL has a slash.
- mpop's file of UIDLs: ` COUNT HOST USER`, and a line for each UIDL, since version 1.4.23 with a time behind it;
  comments stand at the beginning alone.

**Invariants:** a list is read line by line, and reading is total: a line that is none of a list's gives None. A UIDL is
given as the server gave it, octet for octet.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spool.envelope import Uidl

# A UIDL with more hyphens is taken as it stands: each may have been a slash, and the ways double.
HYPHENS_AT_MOST = 3
_BEGINNING = re.compile(rb" ([0-9]{1,12}) ([^ ]+) (.+)")
_TIME = re.compile(rb"([^ ]+) -?[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose UIDLs they are, in lower case, as ASCII has it: fetchmail compares both without regard to that."""

    host: str
    username: str

    @classmethod
    def of(cls, host: str, username: str) -> Owner:
        """The owner of a mailbox."""
        return cls(host=_text(_octets(host).lower()), username=_text(_octets(username).lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A UIDL and whose it is; `owner` None: the file is of one mailbox, and does not say of which."""

    owner: Owner | None
    uidl: Uidl


def of_fetchmail(lines: Iterable[bytes], owners: Iterable[Owner]) -> Iterator[Seen | None]:
    """Read a `.fetchids`; None for each line that says nothing. Lines of known owners cannot be misread."""
    known = {_octets(f"{owner.username}@{owner.host}"): owner for owner in owners}
    for line in _lines(lines):
        named, _, uidl = line.lstrip(b" \t").rstrip(b" \t").rpartition(b" ")
        name = named.rstrip(b" \t").lower()
        if not uidl or b"@" not in name:
            yield None
            continue
        owner = known.get(name)
        if owner is None:
            user, _, host = name.rpartition(b"@")
            owner = Owner(host=_text(host), username=_text(user))
        yield Seen(owner=owner, uidl=Uidl(uidl))


def of_getmail(lines: Iterable[bytes]) -> Iterator[Seen | None]:
    """Read an oldmail file; a UIDL with few hyphens comes in each way in which it can be meant."""
    for line in _lines(lines):
        uidl, nul, time = line.strip().partition(b"\0")
        if not (uidl and nul and time.isdigit()):
            yield None
            continue
        yield from (Seen(owner=None, uidl=meant) for meant in with_slashes(uidl))


def with_slashes(uidl: bytes) -> Iterator[Uidl]:
    """A UIDL as it stands in an oldmail file, and as the server may have given it."""
    parts = uidl.split(b"-")
    if len(parts) - 1 > HYPHENS_AT_MOST:
        yield Uidl(uidl)
        return
    for marks in itertools.product((b"-", b"/"), repeat=len(parts) - 1):
        yield Uidl(parts[0] + b"".join(mark + part for mark, part in zip(marks, parts[1:], strict=True)))


def of_mpop(lines: Iterable[bytes]) -> Iterator[Seen | None]:
    """Read a file of UIDLs."""
    owner: Owner | None = None
    for line in _lines(lines):
        if owner is None and line.startswith(b"#"):
            continue
        if beginning := _BEGINNING.fullmatch(line):
            owner = Owner.of(_text(beginning[2]), _text(beginning[3]))
        elif owner is None or not line or line.startswith(b" "):
            yield None
        else:
            timed = _TIME.fullmatch(line)
            yield Seen(owner=owner, uidl=Uidl(timed[1] if timed else line))


def _lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    for line in lines:
        if bare := line.rstrip(b"\r\n"):
            yield bare


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
