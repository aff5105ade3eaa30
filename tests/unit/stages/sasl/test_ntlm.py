"""NTLM: against pyspnego's acceptor, and challenges that no library should see."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stages.sasl.exchange import Exchange, ExchangeFailed, Mechanism, SecretUnusable
from stages.sasl.mechanisms import exchange
from stages.sasl.ntlm import check
from tests.support.sasl import NtlmAcceptor, Refused, identity, ntlm_users

UNICODE, OEM, NTLM, TARGET_INFO = 0x1, 0x2, 0x200, 0x800000


def pair(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", kind, len(value)) + value


END = pair(0, b"")
NAMES = pair(2, "CORP".encode("utf-16-le")) + pair(1, "MAIL".encode("utf-16-le"))
TIME = pair(7, struct.pack("<Q", 133_000_000_000_000_000))


def challenge(
    pairs: bytes = NAMES + TIME + END,
    *,
    name: bytes = b"C\0",
    flags: int = UNICODE | NTLM | TARGET_INFO,
    kind: int = 2,
    shift: int = 0,
) -> bytes:
    """[MS-NLMP] section 2.2.1.2; `shift` moves the offset of the target information."""
    at = 48
    return (
        b"NTLMSSP\0"
        + struct.pack("<I", kind)
        + struct.pack("<HHI", len(name), len(name), at)
        + struct.pack("<I", flags)
        + b"12345678"
        + bytes(8)
        + struct.pack("<HHI", len(pairs), len(pairs), at + len(name) + shift)
        + name
        + pairs
    )


def begun(user: str = "alice") -> Exchange:
    run = exchange(Mechanism.NTLM, identity(user))
    assert run.respond(b"").startswith(b"NTLMSSP\0\x01\0\0\0")
    return run


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTLM_USER_FILE", str(ntlm_users(tmp_path / "users", alice="secret", jörg="pässwörd€")))


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(("user", "password"), [("alice", "secret"), ("jörg", "pässwörd€")])
def test_the_acceptor_lets_the_right_password_in(user: str, password: str) -> None:
    run, server = exchange(Mechanism.NTLM, identity(user, password)), NtlmAcceptor()
    told = server.accept(run.respond(b""))
    assert told is not None
    assert server.accept(run.respond(told)) is None
    run.conclude()


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("password", ["wrong", ""])
def test_the_acceptor_refuses_a_wrong_password(password: str) -> None:
    """An empty one does not make the library look for another in a cache."""
    run, server = exchange(Mechanism.NTLM, identity("alice", password)), NtlmAcceptor()
    told = server.accept(run.respond(b""))
    assert told is not None
    with pytest.raises(Refused):
        server.accept(run.respond(told))


@pytest.mark.parametrize(
    "told",
    [
        challenge(),
        challenge(NAMES + END),
        challenge(b""),
        challenge(name=b""),
        challenge(flags=OEM | NTLM | TARGET_INFO, name=b"C"),
        challenge(pair(6, b"\2\0\0\0") + pair(8, bytes(48)) + pair(99, b"x") + END),
    ],
    ids=["usual", "without time", "without target information", "without name", "in OEM characters", "odd pairs"],
)
def test_a_challenge_is_answered_with_ntlm_v2(told: bytes) -> None:
    run = begun()
    answer = run.respond(told)
    run.conclude()
    assert struct.unpack_from("<H", answer, 20)[0] > 24


@pytest.mark.parametrize("level", ["0", "1", "2"])
def test_an_environment_that_asks_for_ntlm_v1_does_not_get_it(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its response gives the password away."""
    monkeypatch.setenv("LM_COMPAT_LEVEL", level)
    with pytest.raises(SecretUnusable, match="unset LM_COMPAT_LEVEL"):
        begun().respond(challenge())


@pytest.mark.parametrize("level", ["9", "high"])
def test_an_environment_that_makes_no_sense_is_told(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_COMPAT_LEVEL", level)
    with pytest.raises(SecretUnusable, match="LM_COMPAT_LEVEL in the environment is no level"):
        begun()


MALFORMED = {
    "empty": (b"", "no NTLM message"),
    "garbage": (b"x" * 64, "no NTLM message"),
    "short": (challenge()[:47], "no NTLM message"),
    "huge": (challenge() + bytes(4096), "more than 4096 octets"),
    "another message": (challenge(kind=3), "no challenge"),
    "a field behind the end": (challenge(shift=1), "lies outside"),
    "a field far behind the end": (challenge(shift=0x7FFFFFFF), "lies outside"),
    "a field in the fixed part": (challenge(shift=-40), "lies outside"),
    "pairs without end": (challenge(NAMES), "no end"),
    "pairs cut in the head": (challenge(NAMES + END + b"\1\0"), "cut short"),
    "a value behind the end": (challenge(struct.pack("<HH", 99, 500) + END), "wrong length"),
    "a time of three octets": (challenge(pair(7, b"abc") + END), "wrong length"),
    "flags of no octet": (challenge(pair(6, b"") + END), "wrong length"),
    "a time beyond all calendars": (challenge(pair(7, b"\xff" * 8) + END), "beyond all calendars"),
    "a name that is no text": (challenge(pair(1, b"\0\xd8") + END), "no text"),
    "a name of one octet": (challenge(pair(1, b"x") + END), "no text"),
}


@pytest.mark.parametrize(("told", "why"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_challenge_is_one_clean_error(told: bytes, why: str) -> None:
    with pytest.raises(ExchangeFailed, match=f"^NTLM: .*{why}"):
        begun().respond(told)


def test_a_user_name_that_the_server_has_no_characters_for_is_not_shown() -> None:
    """A server without Unicode takes the name in windows-1252."""
    with pytest.raises(SecretUnusable, match="cannot take the characters") as refused:
        begun("日本").respond(challenge(flags=OEM | NTLM, name=b""))
    assert "日" not in str(refused.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    head=st.sampled_from([challenge(), challenge(b""), challenge(NAMES + END, flags=OEM)]),
    changes=st.dictionaries(st.integers(12, 90), st.integers(0, 255), max_size=6),
    tail=st.binary(max_size=20),
)
@example(head=challenge(), changes={}, tail=b"")
def test_whatever_passes_the_check_does_not_break_the_library(
    head: bytes, changes: dict[int, int], tail: bytes
) -> None:
    told = bytearray(head + tail)
    for at, octet in changes.items():
        if at < len(told):
            told[at] = octet
    try:
        check(bytes(told))
    except ExchangeFailed:
        return
    run = begun()
    run.respond(bytes(told))
    run.conclude()


@pytest.mark.usefixtures("users")
def test_the_library_logs_no_response(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG it would write each of them, and a response can be searched for its password."""
    with caplog.at_level(logging.DEBUG):
        begun().respond(challenge())
    assert caplog.text == ""
