"""Read a server's certificate for people: whose it is, who vouches for it, and until when.

**Invariants:** total on any octets: they come from a server that nobody may have vouched for. The texts are safe to
show. Nothing is decided by what is read here; trust is decided in `stages.stream`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from spool.safe_text import safe_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What RFC 5280 has a certificate say; names are those that a host name is compared with (RFC 6125)."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    expires_at: datetime


def read_certificate(der: bytes) -> Certificate | None:
    """Read a certificate in DER; None where it is none."""
    try:
        with warnings.catch_warnings():
            # What the library finds unusual in it is no matter of ours, and would be printed.
            warnings.simplefilter("ignore")
            found = x509.load_der_x509_certificate(der)
            return Certificate(
                subject=_safe(found.subject.rfc4514_string()),
                issuer=_safe(found.issuer.rfc4514_string()),
                names=_names(found),
                expires_at=found.not_valid_after_utc,
            )
    except (ValueError, x509.InvalidVersion):
        return None


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return tuple(_safe(name) for name in (*names.get_values_for_type(x509.DNSName), *addresses))


def _safe(text: str) -> str:
    return safe_text(text.encode("utf-8", "surrogateescape"))
