"""Which login is chosen, and what can never be sent."""

from __future__ import annotations

import pytest

from stages.pop3.auth import Native, Offer, Way, advice, may_be_the_credentials, ways
from stages.pop3.replies import capabilities
from stages.sasl.credentials import Credentials, LoginImpossible
from stages.sasl.exchange import Mechanism
from stages.secret import Secret
from stages.settings import AuthMethod

GREETING = b"POP3 server ready <1896.697170952@dbc.mtview.ca.us>"
EVERYTHING = ("USER", "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 NTLM XOAUTH2 OAUTHBEARER GSSAPI")
USER, APOP = Native.USER, Native.APOP
PLAIN, LOGIN, CRAM_MD5, NTLM = Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5, Mechanism.NTLM
SCRAM_1, SCRAM_256 = Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256
XOAUTH2, OAUTHBEARER = Mechanism.XOAUTH2, Mechanism.OAUTHBEARER


def offer(*listed: str, tls: bool = False, apop: bool = False) -> Offer:
    """What a server offers; without lines it knows no CAPA."""
    told = {"capabilities": capabilities(line.encode() for line in listed)} if listed else {}
    return Offer(greeting=GREETING if apop else b"ready", is_tls=tls, **told)


def with_password(method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="mrose", password=Secret("tanstaaf"), method=method)


def with_token(method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="mrose", token=Secret("ya29"), method=method)


@pytest.mark.parametrize(
    ("listed", "apop", "chosen"),
    [
        (EVERYTHING, True, (SCRAM_256, PLAIN)),
        (("USER", "SASL SCRAM-SHA-1 PLAIN"), False, (SCRAM_1, PLAIN)),
        (("USER", "SASL SCRAM-SHA-1 LOGIN"), False, (SCRAM_1, USER)),
        (("SASL SCRAM-SHA-1 LOGIN",), False, (SCRAM_1, LOGIN)),
        (("SASL SCRAM-SHA-256",), False, (SCRAM_256,)),
        (("USER", "SASL PLAIN LOGIN CRAM-MD5 NTLM"), True, (PLAIN,)),
        (("USER", "SASL LOGIN CRAM-MD5"), True, (USER,)),
        (("SASL LOGIN CRAM-MD5",), True, (LOGIN,)),
        (("SASL CRAM-MD5 NTLM",), True, (CRAM_MD5,)),
        (("SASL NTLM",), True, (APOP,)),
        (("SASL NTLM",), False, (NTLM,)),
        (("sasl scram-sha-256",), False, (SCRAM_256,)),
        (("SASL GSSAPI",), False, (USER,)),
        (("TOP", "UIDL"), True, (USER,)),
        ((), True, (USER,)),
        ((), False, (USER,)),
    ],
)
def test_under_tls_plain_text_comes_before_md5(listed: tuple[str, ...], apop: bool, chosen: tuple[Way, ...]) -> None:
    """It is protected better than MD5 would, and a server with hashed passwords cannot do CRAM-MD5."""
    assert ways(with_password(), offer(*listed, tls=True, apop=apop)) == chosen


@pytest.mark.parametrize(
    ("listed", "apop", "chosen"),
    [
        (EVERYTHING, True, (SCRAM_256,)),
        (("USER", "SASL PLAIN LOGIN CRAM-MD5 NTLM"), True, (CRAM_MD5,)),
        (("USER", "SASL PLAIN LOGIN NTLM"), True, (APOP,)),
        (("USER", "SASL PLAIN LOGIN NTLM"), False, (NTLM,)),
        (("USER", "SASL PLAIN LOGIN"), False, (PLAIN,)),
        (("USER", "SASL LOGIN"), False, (USER,)),
        (("SASL LOGIN",), False, (LOGIN,)),
        (("SASL GSSAPI",), True, (APOP,)),
        (("TOP", "UIDL"), True, (APOP,)),
        ((), True, (APOP,)),
        ((), False, (USER,)),
    ],
)
def test_without_tls_the_password_stays_here_where_it_can(
    listed: tuple[str, ...], apop: bool, chosen: tuple[Way, ...]
) -> None:
    """And there is no second try: whoever refuses the first could be after the password."""
    assert ways(with_password(), offer(*listed, apop=apop)) == chosen


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("listed", "chosen"),
    [
        (EVERYTHING, OAUTHBEARER),
        (("SASL PLAIN XOAUTH2",), XOAUTH2),
        (("SASL PLAIN",), XOAUTH2),
        ((), XOAUTH2),
    ],
)
def test_a_token_goes_by_a_bearer_mechanism_alone(listed: tuple[str, ...], chosen: Way, tls: bool) -> None:
    assert ways(with_token(), offer(*listed, tls=tls, apop=True)) == (chosen,)


NAMED = {
    AuthMethod.BASIC: USER,
    AuthMethod.APOP: APOP,
    AuthMethod.SPA: NTLM,
    AuthMethod.NTLM: NTLM,
    AuthMethod.PLAIN: PLAIN,
    AuthMethod.LOGIN: LOGIN,
    AuthMethod.CRAM_MD5: CRAM_MD5,
    AuthMethod.SCRAM_SHA_1: SCRAM_1,
    AuthMethod.SCRAM_SHA_256: SCRAM_256,
    AuthMethod.XOAUTH2: XOAUTH2,
    AuthMethod.OAUTHBEARER: OAUTHBEARER,
}


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("listed", [EVERYTHING, ("SASL GSSAPI",), ()], ids=["everything", "another", "no CAPA"])
@pytest.mark.parametrize("method", [method for method in AuthMethod if method is not AuthMethod.AUTO])
def test_a_way_that_is_named_is_the_only_one(method: AuthMethod, listed: tuple[str, ...], tls: bool) -> None:
    """Listed or not, under TLS or not, and whatever worked last time."""
    credentials = with_token(method) if NAMED[method] in {XOAUTH2, OAUTHBEARER} else with_password(method)
    assert ways(credentials, offer(*listed, tls=tls, apop=True), prefer="PLAIN") == (NAMED[method],)


@pytest.mark.parametrize("greeting", [b"ready", b"ready <no-msg-id>", b"<a b@c>", b"<\x80@host>"])
def test_apop_needs_a_challenge_that_is_a_msg_id(greeting: bytes) -> None:
    """CVE-2007-1558: whoever can choose the challenge freely learns the password from MD5 collisions."""
    with pytest.raises(LoginImpossible, match="no valid APOP challenge: set auth to auto or basic"):
        ways(with_password(AuthMethod.APOP), Offer(greeting=greeting, is_tls=False))


@pytest.mark.parametrize(
    ("prefer", "tls", "chosen"),
    [
        ("PLAIN", True, (PLAIN,)),
        ("USER", True, (USER,)),
        ("CRAM-MD5", True, (CRAM_MD5, PLAIN)),
        ("APOP", True, (APOP, PLAIN)),
        ("SCRAM-SHA-1", True, (SCRAM_1, PLAIN)),
        ("XOAUTH2", True, (SCRAM_256, PLAIN)),
        ("GSSAPI", True, (SCRAM_256, PLAIN)),
        ("", True, (SCRAM_256, PLAIN)),
        ("APOP", False, (APOP,)),
        ("PLAIN", False, (SCRAM_256,)),
        ("USER", False, (SCRAM_256,)),
    ],
)
def test_what_worked_last_time_comes_first_where_it_may(prefer: str, tls: bool, chosen: tuple[Way, ...]) -> None:
    """Without TLS it is no reason to send the password in clear text."""
    assert ways(with_password(), offer(*EVERYTHING, tls=tls, apop=True), prefer=prefer) == chosen


def test_what_worked_last_time_and_is_not_offered_any_more_is_forgotten() -> None:
    assert ways(with_password(), offer("USER", "SASL LOGIN", tls=True), prefer="SCRAM-SHA-256") == (USER,)


def test_plain_text_that_worked_last_time_goes_on_where_nothing_better_is_offered() -> None:
    assert ways(with_password(), offer("USER", "SASL PLAIN LOGIN"), prefer="LOGIN") == (LOGIN,)


def test_of_two_bearer_mechanisms_the_one_that_worked_comes_first() -> None:
    assert ways(with_token(), offer(*EVERYTHING, tls=True), prefer="XOAUTH2") == (XOAUTH2,)


@pytest.mark.parametrize(
    ("code", "may_be"),
    [
        (None, True),
        ("AUTH", True),
        ("X-SOMETHING", True),
        ("IN-USE", False),
        ("LOGIN-DELAY", False),
        ("SYS/TEMP", False),
        ("SYS/PERM", False),
    ],
)
def test_a_response_code_may_clear_the_credentials(code: str | None, may_be: bool) -> None:
    """RFC 2449 section 8.1, RFC 3206: another way to log in would change nothing."""
    assert may_be_the_credentials(code) is may_be


@pytest.mark.parametrize(
    ("credentials", "offered", "refused", "said"),
    [
        (
            with_password(AuthMethod.CRAM_MD5),
            offer("USER", "SASL PLAIN SCRAM-SHA-256 GSSAPI"),
            CRAM_MD5,
            "not listed by the server, which offers scram-sha-256, plain, basic",
        ),
        (
            with_password(AuthMethod.NTLM),
            offer("SASL GSSAPI"),
            NTLM,
            "not listed by the server, which offers nothing that could be used instead",
        ),
        (
            with_token(AuthMethod.OAUTHBEARER),
            offer("SASL PLAIN XOAUTH2"),
            OAUTHBEARER,
            "not listed by the server, which offers xoauth2",
        ),
        (with_password(AuthMethod.CRAM_MD5), offer(), CRAM_MD5, ""),
        (with_password(AuthMethod.PLAIN), offer("SASL PLAIN"), PLAIN, ""),
        (
            with_password(),
            offer("USER", "SASL CRAM-MD5"),
            CRAM_MD5,
            "the password is not sent in clear text after that: set tls, or auth to basic",
        ),
        (with_password(), offer("USER", "SASL CRAM-MD5", tls=True), CRAM_MD5, ""),
        (with_password(), offer("SASL CRAM-MD5"), CRAM_MD5, ""),
    ],
)
def test_a_refusal_says_what_to_change_where_it_is_not_the_secret_alone(
    credentials: Credentials, offered: Offer, refused: Way, said: str
) -> None:
    assert advice(credentials, offered, refused=refused) == said
