"""SCRAM: the RFCs' own dialogues, against another implementation of the server, and servers that cannot be believed."""

from __future__ import annotations

import pytest

from stages.sasl.exchange import Exchange, ExchangeFailed, Mechanism, SecretUnusable
from stages.sasl.mechanisms import exchange
from stages.sasl.scram import MAX_ITERATIONS, scram
from tests.support.sasl import Refused, ScramAcceptor, identity

SHA_1 = (  # RFC 5802 section 5
    Mechanism.SCRAM_SHA_1,
    "fyko+d2lbbFgONRv9qkxdawL",
    b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)
SHA_256 = (  # RFC 7677 section 3
    Mechanism.SCRAM_SHA_256,
    "rOprNGfwEbeRWgbNEkqO",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)
Vector = tuple[Mechanism, str, bytes, bytes, bytes]


def begun(vector: Vector) -> Exchange:
    mechanism, nonce, *_ = vector
    user = identity("user", "pencil")
    run = Exchange(mechanism, lambda _challenge: scram(user, mechanism, nonce=nonce), is_client_first=True)
    assert run.respond(b"") == f"n,,n=user,r={nonce}".encode()
    return run


@pytest.mark.parametrize("vector", [SHA_1, SHA_256], ids=["SHA-1", "SHA-256"])
def test_the_example_of_the_rfc(vector: Vector) -> None:
    _, _, server_first, client_final, server_final = vector
    run = begun(vector)
    assert run.respond(server_first) == client_final
    assert run.respond(server_final) == b""
    run.conclude()


@pytest.mark.parametrize("vector", [SHA_1, SHA_256], ids=["SHA-1", "SHA-256"])
@pytest.mark.parametrize(
    "server_final",
    [b"v=" + b"A" * 27 + b"=", b"v=", b"", b"v=!", b"v=AAAA", b"\xff\xfe", b"x=rmF9pqV8S7suAoZWja4dJRkFsKQ="],
)
def test_a_server_that_does_not_prove_that_it_knows_the_password_is_not_believed(
    vector: Vector, server_final: bytes
) -> None:
    """RFC 5802 section 5: a wrong signature ends the exchange."""
    run = begun(vector)
    run.respond(vector[2])
    with pytest.raises(ExchangeFailed, match="the server does not prove that it knows the password"):
        run.respond(server_final)
    with pytest.raises(ExchangeFailed):
        run.conclude()


def test_a_success_without_the_signature_is_not_believed() -> None:
    run = begun(SHA_256)
    run.respond(SHA_256[2])
    with pytest.raises(ExchangeFailed, match="before it was complete"):
        run.conclude()


@pytest.mark.parametrize(
    ("server_first", "why"),
    [
        (b"r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce doesn't match"),
        (b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce must be longer"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096", "first message is wrong"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", "must not be < 4096"),
        (b"m=mandatory,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "first message is wrong"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==", "no iteration count"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4e3", "no iteration count"),
        (b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=" + b"9" * 5000, "no iteration count"),
        (b"", "no iteration count"),
        (b"\xff" * 6000, "no iteration count"),
    ],
)
def test_a_first_message_that_is_none_is_an_error(server_first: bytes, why: str) -> None:
    with pytest.raises(ExchangeFailed, match=why):
        begun(SHA_256).respond(server_first)


def test_a_server_cannot_make_us_compute_for_ever() -> None:
    """RFC 7677 section 4 has no upper bound; every server would have one on our time without this."""
    server_first = f"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={MAX_ITERATIONS + 1}"
    with pytest.raises(ExchangeFailed, match="asks for 1000001 iterations, more than 1000000"):
        begun(SHA_256).respond(server_first.encode())


def test_an_error_of_the_server_is_told_and_nothing_more_is_said() -> None:
    """RFC 5802 section 7: the refusal follows, and a success after it would be a lie."""
    run = begun(SHA_256)
    run.respond(SHA_256[2])
    assert run.respond(b"e=invalid-proof\x1b[2J") == b""
    assert run.refusal == r"invalid-proof\x1b[2J"
    with pytest.raises(ExchangeFailed):
        run.conclude()
    with pytest.raises(ExchangeFailed, match="goes on after its own error"):
        run.respond(SHA_256[4])


@pytest.mark.parametrize("mechanism", [Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256])
@pytest.mark.parametrize("user", ["alice", "a=b,c", "jörg"])
def test_it_agrees_with_another_implementation(mechanism: Mechanism, user: str) -> None:
    run, server = exchange(mechanism, identity(user, "pässword")), ScramAcceptor(mechanism, "pässword")
    challenge: bytes | None = b""
    while challenge is not None:
        challenge = server.accept(run.respond(challenge))
    run.conclude()


def test_a_wrong_password_is_refused_by_another_implementation() -> None:
    mechanism = Mechanism.SCRAM_SHA_256
    run, server = exchange(mechanism, identity(secret="wrong")), ScramAcceptor(mechanism, "secret")
    server_first = server.accept(run.respond(b""))
    assert server_first is not None
    with pytest.raises(Refused):
        server.accept(run.respond(server_first))


def test_each_exchange_has_its_own_nonce() -> None:
    first = [exchange(Mechanism.SCRAM_SHA_256, identity()).respond(b"") for _ in range(2)]
    assert first[0] != first[1]


@pytest.mark.parametrize("secret", ["pass\u200eword", b"caf\xe9".decode(errors="surrogateescape")])
def test_a_password_that_saslprep_forbids_is_for_the_operator(secret: str) -> None:
    """RFC 4013 section 2.3; the error does not show the character."""
    with pytest.raises(SecretUnusable, match="cannot carry this user name or password") as refused:
        exchange(Mechanism.SCRAM_SHA_256, identity(secret=secret)).respond(b"")
    assert "set auth to another mechanism" in str(refused.value)
