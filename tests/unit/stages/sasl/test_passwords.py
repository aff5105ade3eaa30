"""PLAIN, LOGIN and CRAM-MD5, with the examples of their RFCs."""

from __future__ import annotations

import pytest

from stages.sasl.exchange import ExchangeFailed, Mechanism
from stages.sasl.mechanisms import exchange
from tests.support.sasl import identity

TIM = identity("tim", "tanstaaftanstaaf")


def test_plain_is_name_and_password_behind_nuls() -> None:
    """RFC 4616 section 4, the first example."""
    run = exchange(Mechanism.PLAIN, TIM)
    assert run.respond(b"") == b"\0tim\0tanstaaftanstaaf"
    run.conclude()


def test_plain_is_in_utf8() -> None:
    """RFC 4616 section 2."""
    assert exchange(Mechanism.PLAIN, identity("jörg", "pässword")).respond(b"") == "\0jörg\0pässword".encode()


@pytest.mark.parametrize("challenges", [(b"Username:", b"Password:"), (b"User Name\0", b"Password\0"), (b"", b"")])
def test_login_answers_whatever_the_two_challenges_say(challenges: tuple[bytes, bytes]) -> None:
    run = exchange(Mechanism.LOGIN, TIM)
    assert [run.respond(challenge) for challenge in challenges] == [b"tim", b"tanstaaftanstaaf"]
    run.conclude()


def test_cram_md5_answers_with_a_digest_of_the_challenge() -> None:
    """RFC 2195 section 2, its example."""
    run = exchange(Mechanism.CRAM_MD5, TIM)
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert run.respond(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    run.conclude()


def test_cram_md5_without_a_challenge_is_an_error() -> None:
    """Its digest would be the same each time."""
    with pytest.raises(ExchangeFailed, match="challenge is empty"):
        exchange(Mechanism.CRAM_MD5, TIM).respond(b"")


def test_a_password_that_is_no_text_is_sent_as_it_is() -> None:
    """The environment of a process holds octets."""
    password = b"caf\xe9".decode(errors="surrogateescape")
    assert exchange(Mechanism.PLAIN, identity("a", password)).respond(b"") == b"\0a\0caf\xe9"
