"""Say what kept an account from being polled: a pure reading of the error.

The response codes of RFC 2449 section 8.1 and RFC 3206 come first. Where the server gave none its words are looked at,
and only to find reasons that are not the password: a server that throttles says in one way or another that it is busy,
and many answer with something about the password. So "wrong password" is what is left over, and is never certain.
"""

from __future__ import annotations

import enum
import re

from stages.errors import OperatorMustAct, PeerSaidNo, StageError, TryLater
from stages.pop3.client import GreetingRefused, LoginCut, LoginRefused
from stages.stream import ConnectFailed


class Trouble(enum.Enum):
    """Why a poll failed, by what ends it."""

    UNREACHABLE = "unreachable"
    """Nobody listens at the host, or it takes no connections: true of all its accounts."""
    IN_USE = "in use"
    """Another session has the maildrop open."""
    TOO_SOON = "too soon"
    """The server wants more time between two logins."""
    TEMPORARY = "temporary"
    """The line or the server; it may work next time."""
    PERMANENT = "permanent"
    """The server says that somebody must mend it ([SYS/PERM])."""
    LOGIN_REFUSED = "login refused"
    """The password is wrong, or the server says so, or hangs up on it."""
    CONFIGURATION = "configuration"
    """The operator must act here; trying costs the server nothing."""


class HostClosed(TryLater):
    """The host could not be reached a moment ago, for another account or for this one; it is left alone for a while."""


class LoginTooSoon(TryLater):
    """The server's LOGIN-DELAY (RFC 2449 section 6.5) does not allow a login yet; none was tried."""


_BY_CODE = {
    "IN-USE": Trouble.IN_USE,
    "LOGIN-DELAY": Trouble.TOO_SOON,
    "SYS/TEMP": Trouble.TEMPORARY,
    "SYS/PERM": Trouble.PERMANENT,
    "AUTH": Trouble.LOGIN_REFUSED,
}
_BY_WORDS = (
    (re.compile(r"\b(?:in use|locked|lock|another session|already (?:open|logged))\b", re.IGNORECASE), Trouble.IN_USE),
    (
        re.compile(r"\btoo (?:many|often|frequent\w*|soon)|\blimit|\bfrequen|\bdelay|\bminutes?\b", re.IGNORECASE),
        Trouble.TOO_SOON,
    ),
    (
        re.compile(r"\btemporar|\blater\b|\bunavailable\b|\bbusy\b|\bnot available\b|\bmaintenance\b", re.IGNORECASE),
        Trouble.TEMPORARY,
    ),
)


def trouble_of(error: StageError) -> Trouble:
    """What the error of a session means for the next one."""
    match error:
        case ConnectFailed() | GreetingRefused() | HostClosed():
            return Trouble.UNREACHABLE
        case LoginTooSoon():
            return Trouble.TOO_SOON
        case LoginCut():
            return Trouble.LOGIN_REFUSED
        case PeerSaidNo():
            return _of_refusal(error)
        case OperatorMustAct():
            return Trouble.CONFIGURATION
        case _:
            return Trouble.TEMPORARY


def _of_refusal(error: PeerSaidNo) -> Trouble:
    if error.code is not None and (known := _known(error.code)) is not None:
        return known
    for words, trouble in _BY_WORDS:
        if words.search(error.said):
            return trouble
    return Trouble.LOGIN_REFUSED if isinstance(error, LoginRefused) else Trouble.TEMPORARY


def _known(code: str) -> Trouble | None:
    """RFC 2449 section 8: a code that is not known is read by its first level."""
    while code not in _BY_CODE and "/" in code:
        code = code.rpartition("/")[0]
    return _BY_CODE.get(code)
