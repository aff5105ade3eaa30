"""Write the one header field that we add, and recognise it when a message comes round again.

    Received: from pop.isp.example ([192.0.2.1]) by gw.corp.example
     (pop3connector/1.0) with POP3 id 01j0e5v3xk7m2q9r4s for <sales@corp.example>;
     Tue, 04 Mar 2025 09:30:00 +0000

**Invariants:** the same values give the same octets, at each attempt and after each restart; whatever the values are,
the result is one field of printable ASCII that ends in CRLF.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime

_SOFTWARE = "pop3connector/1.0"
_MAX_LINE = 78  # RFC 5322 section 2.1.1
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_])?")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PRINTABLE = re.compile(r"[!-~]+")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# White space is one space by then, and no two neighbours can match the same octet: linear.
_OURS = re.compile(
    rb"from ([^ ()]{1,260})(?: \(\[[^ ()\[\]]{1,64}\]\))? by ([^ ()]{1,260}) \(pop3connector/[^ ()]{1,32}\)"
    rb" with POP3 id [^ ;]{1,64}"
    rb"(?: for <([^<> ]{1,260})>)?;"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """Our hop for one account: the POP3 host as configured, our own host name, and where the mail goes."""

    peer_host: str
    gateway: str
    recipients: tuple[str, ...]


def trace_field(hop: Hop, *, peer_address: str | None, queue_id: str, fetched_at: datetime) -> bytes:
    """The trace field (RFC 5321 section 4.4), CRLF included.

    What is no host or id becomes `unknown`; what is no IP address is left out. `fetched_at` is aware.
    """
    address = _address_literal(peer_address)
    recipient = _only_recipient(hop)
    clauses = [
        f"from {_host(hop.peer_host)}",
        *([f"([{address}])"] if address else []),
        f"by {_host(hop.gateway)}",
        f"({_SOFTWARE})",
        "with POP3",
        f"id {queue_id if _ID.fullmatch(queue_id) else 'unknown'}",
        *([f"for <{recipient}>"] if recipient else []),
    ]
    return _folded(["Received:", *clauses[:-1], clauses[-1] + ";", _date(fetched_at)])


def peer_text(host: str, address: str) -> str:
    """A server's name and numeric address as the spool keeps them: `pop.isp.example [192.0.2.1]`."""
    return f"{host} [{address}]"


def split_peer(text: str) -> tuple[str, str | None]:
    """Undo `peer_text`; total on any text. The address is None where the text has none."""
    host, bracket, address = text.partition(" [")
    return host, (address.removesuffix("]") or None) if bracket else None


def is_ours(value: bytes, hop: Hop) -> bool:
    """Whether a Received value is a trace field that we wrote for this account; relays may have folded it anew."""
    match = _OURS.match(b" ".join(value.split()))
    if match is None:
        return False
    recipient = _only_recipient(hop)
    return (
        match[1].lower() == _host(hop.peer_host).lower().encode("ascii")
        and match[2].lower() == _host(hop.gateway).lower().encode("ascii")
        and (match[3] or b"").lower() == (recipient or "").lower().encode("ascii")
    )


def _host(name: str) -> str:
    literal = _address_literal(name)
    if literal:
        return f"[{literal}]"
    return name if _HOST.fullmatch(name) else "unknown"


def _address_literal(text: str | None) -> str | None:
    # RFC 5321 section 4.1.3
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0].strip("[]"))
    except ValueError:
        return None
    return f"IPv6:{address}" if address.version == 6 else str(address)


def _only_recipient(hop: Hop) -> str | None:
    """The recipient for the `for` clause, if it can have one."""
    # RFC 5321 section 7.6: with more than one it would tell each about the others.
    if len(hop.recipients) != 1:
        return None
    (recipient,) = hop.recipients
    # A quoted local part with spaces could not be folded, a non-ASCII one would make this header need SMTPUTF8.
    is_plain = _PRINTABLE.fullmatch(recipient) and not set("<>") & set(recipient)
    return recipient if is_plain else None


def _date(at: datetime) -> str:
    # RFC 5322 section 3.3; strftime would speak the operator's language.
    utc = at.astimezone(UTC)
    return f"{_DAYS[utc.weekday()]}, {utc.day:02} {_MONTHS[utc.month - 1]} {utc.year:04} {utc:%H:%M:%S} +0000"


def _folded(clauses: list[str]) -> bytes:
    lines = [clauses[0]]
    for clause in clauses[1:]:
        if len(lines[-1]) + 1 + len(clause) > _MAX_LINE:
            lines.append(f" {clause}")
        else:
            lines[-1] += f" {clause}"
    return "\r\n".join(lines).encode("ascii") + b"\r\n"
