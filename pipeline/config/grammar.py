"""The small languages inside the file: durations, sizes, hosts, addresses, fingerprints, endpoints.

Each function takes what TOML gave and returns the value that `Settings` holds.
**Failures:** `ValueError` whose text is the problem as the operator reads it, on one line.
"""

from __future__ import annotations

import ipaddress
import json
import pwd
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from stages.secret import Secret

_Choice = TypeVar("_Choice", bound=StrEnum)

_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=36500)  # a century; now minus so much is still a date

_SIZE = re.compile(r"([0-9]{1,18}) ?([A-Za-z]+)")
_OCTETS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_LARGEST = 2**63 - 1

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9_.])?")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 6749 section 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_FINGERPRINT = re.compile(r"sha256:([0-9a-f]{64})")


def shown(value: object) -> str:
    """A value as a problem quotes it: ASCII, one line, bounded."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:76] + " ..."


def one_of(words: Sequence[str]) -> str:
    """The words as a sentence lists them: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def duration(value: object) -> timedelta:
    """`90s`, `15m`, `24h`, `14d`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{shown(value)} is not a duration; write for example "90s", "15m", "24h" or "14d"')
    # The product is made of plain numbers: a timedelta of 999999999d times anything overflows.
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{shown(value)} is longer than a century")
    return timedelta(seconds=seconds)


def time_limit(value: object) -> timedelta:
    """A duration that is not zero, for what would fail at once or spin without one."""
    limit = duration(value)
    if not limit:
        raise ValueError("must be longer than zero")
    return limit


def poll_interval(value: object) -> timedelta:
    """A duration of 5 minutes to 24 hours: the only one with bounds."""
    interval = duration(value)
    if not timedelta(minutes=5) <= interval <= timedelta(hours=24):
        raise ValueError(f"{shown(value)} is out of bounds; an interval is 5m to 24h")
    return interval


def keep_time(value: object) -> timedelta | None:
    """`false` (delete at once), `true` (None: keep for ever) or a duration."""
    match value:
        case True:
            return None
        case False:
            return timedelta(0)
        case str():
            return duration(value)
        case _:
            raise ValueError(f'{shown(value)} is neither true, false nor a duration such as "14d"')


def size(value: object) -> int:
    """Octets: an integer, or `10MB`, `10MiB`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        octets = value
    else:
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if match is None or match[2].lower() not in _OCTETS:
            raise ValueError(f'{shown(value)} is not a size; write octets, or for example "10MB" or "10MiB"')
        octets = int(match[1]) * _OCTETS[match[2].lower()]
    if octets > _LARGEST:
        raise ValueError(f"{shown(value)} is larger than any disk")
    return octets


def size_limit(value: object) -> int | None:
    """A size of at least one octet, or None for `auto`."""
    if value == "auto":
        return None
    octets = size(value)
    if octets == 0:
        raise ValueError("must be at least one octet; no message would pass")
    return octets


def text(value: object) -> str:
    """Text on one line: nothing in it can end a command or a header field."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)}")  # noqa: TRY004 - pydantic collects ValueError
    if not value or not value.isprintable():
        raise ValueError("is empty" if not value else "has control characters")
    return value


def secret(value: object) -> Secret:
    """A password as it stands in the file; no problem ever quotes it."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - pydantic collects ValueError
    if not value or any(octet in value for octet in "\r\n\0"):
        raise ValueError("is empty" if not value else "has a line end or NUL, which no login can carry")
    return Secret(value)


def name(value: object) -> str:
    """A name that people type and read in listings."""
    label = text(value)
    if label != label.strip() or len(label) > 64:
        raise ValueError(f"{shown(label)} must have at most 64 characters and no space at its ends")
    return label


def host(value: object) -> str:
    """A host name or numeric address, in lower case; the internationalised form is written as `xn--...`."""
    candidate = text(value).lower()
    if not (_HOST.fullmatch(candidate) or _is_address(candidate)):
        raise ValueError(f"{shown(value)} is not a host name or IP address")
    return candidate.removesuffix(".")


def relay_host(value: object) -> str:
    """As `host`, or the absolute path of a UNIX socket, which keeps its case."""
    candidate = text(value)
    # sun_path of unix(7) has 108 octets, the NUL at its end among them.
    if candidate.startswith("/") and len(candidate.encode()) > 107:
        raise ValueError(f"{shown(value)} is longer than the path of a UNIX socket may be, 107 octets")
    return candidate if candidate.startswith("/") else host(value)


def is_loopback(host_name: str) -> bool:
    """Whether what is sent to this host, or UNIX socket, stays on the machine."""
    if host_name.startswith("/"):
        return True
    return ipaddress.ip_address(host_name).is_loopback if _is_address(host_name) else host_name == "localhost"


def domain(value: object) -> str:
    """A mail domain, in lower case."""
    candidate = text(value).lower()
    if len(candidate) > 253 or not all(_LABEL.fullmatch(label) for label in candidate.split(".")):
        raise ValueError(f"{shown(value)} is not a domain")
    return candidate


def domains(value: object) -> tuple[str, ...]:
    """One domain or several."""
    return _each(value, domain)


def address(value: object) -> str:
    """`local@domain`, as RFC 5321 section 4.1.2 has it without quoting; the local part keeps its case."""
    candidate = text(value)
    local_part, _, domain_part = candidate.rpartition("@")
    if not domain_part or len(local_part) > 64 or not _LOCAL_PART.fullmatch(local_part):
        raise ValueError(f"{shown(value)} is not an address such as sales@corp.example")
    return f"{local_part}@{domain(domain_part)}"


def addresses(value: object) -> tuple[str, ...]:
    """One address or several, at least one."""
    found = _each(value, address)
    if not found:
        raise ValueError("needs at least one address")
    return found


def fingerprints(value: object) -> tuple[str, ...]:
    """One `sha256:<64 hex digits>` of a certificate or several; colons between the digits are dropped."""
    return _each(value, _fingerprint)


def endpoint(value: object) -> str:
    """The URL of an OAuth 2.0 endpoint: https, or http on this machine (RFC 6749 section 3.2)."""
    url = text(value)
    scheme, host_name = _scheme_and_host(url)
    if not host_name:
        raise ValueError(f"{shown(value)} is not a URL such as https://login.example/oauth2/token")
    if scheme != "https" and not (scheme == "http" and is_loopback(host_name)):
        raise ValueError(f"{shown(value)} must begin with https://, since secrets are sent to it")
    return url


def scope(value: object) -> str:
    """The scopes that are asked for, in one string with spaces between them or in an array."""
    words = [word for item in (value if isinstance(value, list) else [value]) for word in text(item).split(" ")]
    if not all(_SCOPE.fullmatch(word) for word in words):
        raise ValueError(f"{shown(value)} is not a scope, or scopes with one space between them")
    return " ".join(words)


def owner_uids(value: object) -> frozenset[int]:
    """User names or numbers, as uids of this machine."""
    return frozenset(_each(value, _uid))


def choice(
    kind: type[_Choice], *, without: frozenset[_Choice] = frozenset(), later: frozenset[str] = frozenset()
) -> Callable[[object], _Choice]:
    """The parser of an enum's words, but for some; `later` are words that are known and not supported yet."""
    words = [member.value for member in kind if member not in without]
    listed = one_of(words)

    def parse(value: object) -> _Choice:
        if isinstance(value, str) and value in later:
            raise ValueError(f"{shown(value)} is not supported by this version; use {listed}")
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{shown(value)} is not one of {listed}")
        return kind(value)

    return parse


_Value = TypeVar("_Value")


def _each(value: object, parse: Callable[[object], _Value]) -> tuple[_Value, ...]:
    """Parse one value or an array of them, without repetitions, in order."""
    items = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(parse(item) for item in items))


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Both of a URL that names a server and nobody there; empty where it is none."""
    try:
        parts = urlsplit(url)
        host_name = host(parts.hostname or "")
        is_good = parts.port != 0 and url.isascii() and " " not in url and "@" not in parts.netloc and "#" not in url
    except ValueError:
        return "", ""
    return (parts.scheme, host_name) if is_good else ("", "")


def _is_address(host_name: str) -> bool:
    try:
        ipaddress.ip_address(host_name)
    except ValueError:
        return False
    return "%" not in host_name


def _fingerprint(value: object) -> str:
    scheme, separator, digits = text(value).lower().partition(":")
    match = _FINGERPRINT.fullmatch(scheme + separator + digits.replace(":", ""))
    if match is None:
        raise ValueError(f'{shown(value)} is not "sha256:" and 64 hexadecimal digits')
    return match[0]


def _uid(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    try:
        return pwd.getpwnam(text(value)).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {shown(value)} on this machine") from None
