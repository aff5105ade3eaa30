"""What every mechanism keeps, whatever it is."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import PeerBroke
from stages.sasl.exchange import ExchangeFailed, Mechanism
from stages.sasl.mechanisms import exchange
from tests.support.sasl import identity

CLIENT_FIRST = set(Mechanism) - {Mechanism.LOGIN, Mechanism.CRAM_MD5}


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_a_success_before_the_first_response_is_not_believed(mechanism: Mechanism) -> None:
    """Whoever says so never saw the credentials."""
    with pytest.raises(ExchangeFailed, match=f"{mechanism}: the server says that the login succeeded before"):
        exchange(mechanism, identity()).conclude()


@pytest.mark.parametrize("mechanism", [Mechanism.LOGIN, Mechanism.NTLM, Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256])
def test_a_success_after_the_first_of_several_responses_is_not_believed(mechanism: Mechanism) -> None:
    run = exchange(mechanism, identity())
    run.respond(b"")
    with pytest.raises(ExchangeFailed):
        run.conclude()


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_the_one_that_speaks_first_is_known(mechanism: Mechanism) -> None:
    """RFC 5034 section 4: only that one may have an initial response."""
    assert exchange(mechanism, identity()).is_client_first is (mechanism in CLIENT_FIRST)


def test_a_challenge_after_the_last_response_is_an_error() -> None:
    run = exchange(Mechanism.PLAIN, identity())
    run.respond(b"")
    with pytest.raises(ExchangeFailed, match="PLAIN: more challenges than the mechanism has"):
        run.respond(b"again")


@pytest.mark.parametrize("mechanism", list(Mechanism))
@given(challenges=st.lists(st.binary(max_size=200), max_size=4))
def test_no_challenge_does_more_than_break_the_exchange(mechanism: Mechanism, challenges: list[bytes]) -> None:
    run = exchange(mechanism, identity())
    try:
        run.respond(b"<1896.697170952@dbc.mtview.ca.us>")
        for challenge in challenges:
            run.respond(challenge)
    except PeerBroke as error:
        assert "secret" not in str(error)  # noqa: PT017 - most challenges raise, not all


def test_the_libraries_are_imported_when_their_mechanism_is_used() -> None:
    """They take a tenth of a second each, and most accounts use neither."""
    program = "import sys, stages.pop3.client; print({'scramp', 'spnego', 'asn1crypto'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
