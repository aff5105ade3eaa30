"""What kept an account from being polled."""

from __future__ import annotations

import pytest

from stages.errors import NetworkError, OperatorMustAct, PeerSaidNo, ProtocolViolation, StageError, TryLater
from stages.fetch.trouble import HostClosed, LoginTooSoon, Trouble, trouble_of
from stages.pop3 import replies
from stages.pop3.client import CommandRefused, GreetingRefused, LoginCut, LoginRefused, StlsRefused
from stages.stream import ConnectFailed
from stages.tls import TlsFailed


def refusal(said: bytes, kind: type[PeerSaidNo] = LoginRefused) -> PeerSaidNo:
    return kind("login refused", said, code=replies.response_code(said))


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"[IN-USE] Do you have another POP session running?", Trouble.IN_USE),
        (b"[LOGIN-DELAY] minimum time between mail checks violation", Trouble.TOO_SOON),
        (b"[SYS/TEMP] Temporary authentication failure.", Trouble.TEMPORARY),
        (b"[SYS/PERM] Your account is not enabled for POP access.", Trouble.PERMANENT),
        (b"[AUTH] Username and password not accepted.", Trouble.LOGIN_REFUSED),
        (b"[auth] invalid login", Trouble.LOGIN_REFUSED),
        (b"[SYS/TEMP/FULL] no room", Trouble.TEMPORARY),
    ],
)
def test_a_response_code_decides(said: bytes, trouble: Trouble) -> None:
    """RFC 2449 section 8.1 and RFC 3206; the words behind the code do not count."""
    assert trouble_of(refusal(said)) is trouble


def test_a_response_code_counts_against_the_words_behind_it() -> None:
    assert trouble_of(refusal(b"[AUTH] temporarily locked, try again later")) is Trouble.LOGIN_REFUSED


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"maildrop already locked", Trouble.IN_USE),
        (b"Unable to lock maildrop", Trouble.IN_USE),
        (b"mailbox in use", Trouble.IN_USE),
        (b"Exceeded the login limit for a 15 minute period.", Trouble.TOO_SOON),
        (b"Too many login attempts", Trouble.TOO_SOON),
        (b"logins are too frequent", Trouble.TOO_SOON),
        (b"Server error, please try again later", Trouble.TEMPORARY),
        (b"system is temporarily out of order", Trouble.TEMPORARY),
        (b"POP3 service not available", Trouble.TEMPORARY),
        (b"[XYZ] Logon failure: unknown user name or bad password.", Trouble.LOGIN_REFUSED),
        (b"authorization failed", Trouble.LOGIN_REFUSED),
        (b"Sorry, the mailbox is blocked", Trouble.LOGIN_REFUSED),
        (b"", Trouble.LOGIN_REFUSED),
    ],
)
def test_without_a_code_that_is_known_the_words_are_looked_at(said: bytes, trouble: Trouble) -> None:
    assert trouble_of(refusal(said)) is trouble


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ConnectFailed("cannot connect"), Trouble.UNREACHABLE),
        (refusal(b"too many connections from your address", GreetingRefused), Trouble.UNREACHABLE),
        (HostClosed("cannot connect"), Trouble.UNREACHABLE),
        (LoginCut("the server hung up in answer to the password"), Trouble.LOGIN_REFUSED),
        (LoginTooSoon("the server allows the next login later"), Trouble.TOO_SOON),
        (refusal(b"what?", CommandRefused), Trouble.TEMPORARY),
        (refusal(b"[SYS/PERM] corrupt", CommandRefused), Trouble.PERMANENT),
        (refusal(b"no", StlsRefused), Trouble.TEMPORARY),
        (OperatorMustAct("password_file: missing"), Trouble.CONFIGURATION),
        (TlsFailed("certificate"), Trouble.TEMPORARY),
        (NetworkError("lost"), Trouble.TEMPORARY),
        (TryLater("took too long"), Trouble.TEMPORARY),
        (ProtocolViolation("neither +OK nor -ERR"), Trouble.TEMPORARY),
    ],
)
def test_every_other_error_has_its_meaning(error: StageError, trouble: Trouble) -> None:
    assert trouble_of(error) is trouble
