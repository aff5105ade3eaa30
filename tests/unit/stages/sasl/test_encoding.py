"""Responses and challenges in base64, the same for POP3 and SMTP."""

from __future__ import annotations

from base64 import b64encode

import pytest

from stages.errors import ProtocolViolation
from stages.sasl.encoding import initial_response, response
from stages.sasl.exchange import Mechanism
from stages.sasl.mechanisms import exchange
from tests.support.sasl import identity


def test_the_initial_response_is_encoded() -> None:
    """RFC 4616 section 4, its example."""
    run = exchange(Mechanism.PLAIN, identity("tim", "tanstaaftanstaaf"))
    assert initial_response(run) == b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm"


def test_a_challenge_is_decoded_and_the_response_encoded() -> None:
    """RFC 2195 section 2, its example."""
    run = exchange(Mechanism.CRAM_MD5, identity("tim", "tanstaaftanstaaf"))
    answer = response(run, b64encode(b"<1896.697170952@postoffice.reston.mci.net>"))
    assert answer == b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890")


@pytest.mark.parametrize("word", [b"", b"go ahead", b"ntlm supported"])
def test_before_the_first_word_of_the_client_a_challenge_says_nothing(word: bytes) -> None:
    """RFC 4422 section 3; [MS-SMTPNTLM] section 2.2.1.2 has a text for people there."""
    assert response(exchange(Mechanism.PLAIN, identity("tim", "secret")), word) == b64encode(b"\0tim\0secret")


@pytest.mark.parametrize("challenge", [b"secret", b"c2Vjcm V0", b"c2VjcmV", "pässwörd".encode(), b"\xff", b"="])
def test_a_challenge_that_is_not_base64_is_refused_and_not_quoted(challenge: bytes) -> None:
    """It may be an echo of what we said."""
    with pytest.raises(ProtocolViolation, match=r"^a challenge that is not base64$"):
        response(exchange(Mechanism.CRAM_MD5, identity()), challenge)
