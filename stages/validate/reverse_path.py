"""Find the reverse-path of a message in its header.

The first that exists of `Return-Path` (the topmost), `Sender` and the first mailbox of `From` decides, and it alone:
where it is unusable the next one is not asked, because a message whose own envelope is broken is for a person to see,
unless the operator wants it to be.

**Invariants:** total on any header. `ReversePath.address` is the null path, or passes the grammar and the lengths of
RFC 5321 and RFC 6531.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from spool.safe_text import safe_text
from stages.mail.addresses import NO_DOMAIN, Address, Malformed, NullPath, Parsed, first_mailbox
from stages.mail.headers import MAX_FIELDS, MAX_HEADER_OCTETS, Field, Header

_SOURCES = (b"return-path", b"sender", b"from")
_MAX_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class ReversePath:
    """What goes into MAIL FROM; "" is the null path. `instead_of` is an unusable header that came before, if any."""

    address: str
    needs_smtputf8: bool = False
    instead_of: Unusable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """No reverse-path; `header` is the field as it stands, "" where there is none. Both are one line, safe to show."""

    reason: str
    header: str = ""


def derive(header: Header, default_domain: str | None, *, falls_back: bool = False) -> ReversePath | Unusable:
    """Derive the reverse-path; a bare local part is completed by `default_domain`, or unusable where that is None.

    With `falls_back` an unusable header is passed over for the next one; where none is usable the first is to blame.
    """
    sources = [field for field in map(header.first, _SOURCES) if field]
    if not sources:
        return Unusable(reason=_nothing_found(header))
    blamed: Unusable | None = None
    for source in sources if falls_back else sources[:1]:
        parsed = _read(source, default_domain)
        match parsed:
            case Address():
                return ReversePath(str(parsed), parsed.needs_smtputf8, blamed)
            case NullPath():
                return ReversePath("", instead_of=blamed)
            case Malformed():
                blamed = blamed or _unusable(source, parsed)
            case _:
                assert_never(parsed)
    assert blamed is not None  # noqa: S101 - there is a source, and none was usable
    return blamed


def _unusable(source: Field, parsed: Malformed) -> Unusable:
    shown = safe_text(b"%s: %s" % (source.name.title(), source.value), limit=_MAX_EXCERPT)
    return Unusable(reason=f"unusable {source.name.decode('ascii').title()}: {parsed.reason}", header=shown)


def _read(field: Field, default_domain: str | None) -> Parsed:
    parsed = first_mailbox(field.value, default_domain)
    if field.name != b"return-path":
        # RFC 5322 section 3.4: an author is a mailbox; only a Return-Path may be null.
        return Malformed("the null path is for Return-Path alone") if isinstance(parsed, NullPath) else parsed
    # Old MTAs write `<MAILER-DAEMON>` for the null path; completed by a domain it would make a bounce answerable.
    is_daemon = isinstance(parsed, Address) and parsed.local.upper() == "MAILER-DAEMON"
    return NullPath() if is_daemon and first_mailbox(field.value) == NO_DOMAIN else parsed


def _nothing_found(header: Header) -> str:
    where = f" in the first {MAX_FIELDS} fields and {MAX_HEADER_OCTETS} octets" if header.is_truncated else ""
    return f"no Return-Path, Sender or From{where}"
