"""Which login the relay is offered, and what to change where it fails."""

from __future__ import annotations

import pytest

from stages.sasl.credentials import Credentials, LoginImpossible
from stages.sasl.exchange import Mechanism
from stages.secret import Secret
from stages.settings import AuthMethod
from stages.smtp.auth import advice, advice_of_code, may_be_the_credentials, ways
from stages.smtp.replies import Extensions, Reply, parse_extensions, parse_line, parse_reply

PLAIN, LOGIN, CRAM_MD5, NTLM = Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5, Mechanism.NTLM
SCRAM_1, SCRAM_256 = Mechanism.SCRAM_SHA_1, Mechanism.SCRAM_SHA_256
XOAUTH2, OAUTHBEARER = Mechanism.XOAUTH2, Mechanism.OAUTHBEARER
EVERYTHING = "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 NTLM XOAUTH2 OAUTHBEARER GSSAPI"
OF_ACCOUNTS_ALONE = {AuthMethod.AUTO, AuthMethod.BASIC, AuthMethod.APOP}


def reply(line: str) -> Reply:
    code, _, text = parse_line(line.encode())
    return parse_reply(code, (text,))


def offered(listed: str, *, starttls: bool = False) -> Extensions:
    lines = [b"relay", *([b"STARTTLS"] if starttls else []), *([f"AUTH {listed}".encode()] if listed else [])]
    return parse_extensions(parse_reply(250, tuple(lines)))


def with_password(method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="tim", password=Secret("tanstaaf"), method=method)


def with_token(method: AuthMethod = AuthMethod.AUTO) -> Credentials:
    return Credentials(username="tim", token=Secret("ya29"), method=method)


@pytest.mark.parametrize(
    ("listed", "under_tls", "without"),
    [
        (EVERYTHING, (SCRAM_256, PLAIN), (SCRAM_256,)),
        ("PLAIN SCRAM-SHA-1", (SCRAM_1, PLAIN), (SCRAM_1,)),
        ("LOGIN PLAIN CRAM-MD5 NTLM", (PLAIN,), (CRAM_MD5,)),
        ("LOGIN CRAM-MD5", (LOGIN,), (CRAM_MD5,)),
        ("LOGIN NTLM", (LOGIN,), (NTLM,)),
        ("LOGIN PLAIN", (PLAIN,), (PLAIN,)),
        ("LOGIN", (LOGIN,), (LOGIN,)),
        ("NTLM CRAM-MD5", (CRAM_MD5,), (CRAM_MD5,)),
        ("plain", (PLAIN,), (PLAIN,)),
    ],
)
def test_the_choice_is_by_strength_and_by_what_protects_the_connection(
    listed: str, under_tls: tuple[Mechanism, ...], without: tuple[Mechanism, ...]
) -> None:
    """Under TLS plain text comes before MD5; without, the password stays here where it can, and nothing follows."""
    assert ways(with_password(), offered(listed), is_tls=True) == under_tls
    assert ways(with_password(), offered(listed), is_tls=False) == without


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize(("listed", "chosen"), [(EVERYTHING, OAUTHBEARER), ("PLAIN XOAUTH2", XOAUTH2)])
def test_a_token_goes_by_a_bearer_mechanism_alone(listed: str, chosen: Mechanism, is_tls: bool) -> None:
    assert ways(with_token(), offered(listed), is_tls=is_tls) == (chosen,)


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("method", sorted(set(AuthMethod) - OF_ACCOUNTS_ALONE))
def test_a_mechanism_that_is_named_is_the_only_one(method: AuthMethod, is_tls: bool) -> None:
    """Whatever worked last time."""
    is_token = method in {AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER}
    credentials = with_token(method) if is_token else with_password(method)
    (named,) = ways(credentials, offered(EVERYTHING), is_tls=is_tls, prefer=PLAIN)
    assert named.value.lower() == {"spa": "ntlm"}.get(method.value, method.value)


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize(
    ("credentials", "extensions", "why"),
    [
        (with_password(AuthMethod.PLAIN), offered("LOGIN CRAM-MD5"), "does not offer PLAIN: set auth in [smtp] to "),
        (with_password(AuthMethod.NTLM), offered("GSSAPI"), "no login that could be used: enable NTLM there"),
        (with_password(), offered("GSSAPI XOAUTH2"), "no login that could be used: enable PLAIN there"),
        (with_token(), offered("PLAIN LOGIN"), "no login that could be used: enable XOAUTH2 there"),
        (with_password(), offered(""), "no login here: remove username from [smtp], or set port"),
        (with_password(AuthMethod.PLAIN), offered(""), "no login here: remove username"),
        (with_password(), offered("", starttls=True), 'no login without TLS: set tls = "starttls"'),
    ],
)
def test_what_is_not_listed_is_not_tried_and_the_error_says_what_to_change(
    credentials: Credentials, extensions: Extensions, why: str, is_tls: bool
) -> None:
    """RFC 4954 section 3: EHLO lists what can be used now."""
    with pytest.raises(LoginImpossible) as caught:
        ways(credentials, extensions, is_tls=is_tls)
    assert why in str(caught.value)


def test_what_the_relay_calls_its_mechanisms_is_not_quoted() -> None:
    with pytest.raises(LoginImpossible) as caught:
        ways(with_password(AuthMethod.PLAIN), offered("LOGIN \x1b[2J X-EVIL"), is_tls=True)
    assert str(caught.value) == "the relay does not offer PLAIN: set auth in [smtp] to login, or to auto"


@pytest.mark.parametrize(
    ("line", "may_be"),
    [
        ("535 5.7.8 no", True),
        ("534 5.7.9 too weak", True),
        ("504 5.5.4 what", True),
        ("500 5.5.6 too long", True),
        ("432 4.7.12 transition", True),
        ("454 4.7.0 temporary", False),
        ("450 busy", False),
    ],
)
def test_a_relay_in_trouble_says_nothing_about_the_credentials(line: str, may_be: bool) -> None:
    """RFC 4954 section 6."""
    assert may_be_the_credentials(reply(line)) is may_be


@pytest.mark.parametrize(
    ("line", "credentials", "listed", "refused", "is_tls", "said"),
    [
        ("535 no", with_password(), "PLAIN LOGIN", PLAIN, True, "check username and password in [smtp]"),
        ("535 no", with_token(), "XOAUTH2", XOAUTH2, True, "check username and token in [smtp]"),
        (
            "534 5.7.9 too weak",
            with_password(AuthMethod.LOGIN),
            "LOGIN SCRAM-SHA-256 CRAM-MD5",
            LOGIN,
            True,
            "check username and password in [smtp], or set auth to scram-sha-256 or cram-md5",
        ),
        ("504 what", with_password(), "PLAIN", PLAIN, True, "check username and password in [smtp]"),
        (
            "535 no",
            with_password(),
            "SCRAM-SHA-256 PLAIN",
            SCRAM_256,
            False,
            "the password is not sent in clear text after that: set tls, or auth to plain",
        ),
        ("535 no", with_password(), "SCRAM-SHA-256", SCRAM_256, False, "check username and password in [smtp]"),
        (
            "538 TLS",
            with_password(),
            "PLAIN",
            PLAIN,
            False,
            'the relay wants TLS first: set tls = "starttls" in [smtp]',
        ),
        ("454 4.7.0 later", with_password(), "PLAIN", PLAIN, True, ""),
    ],
)
def test_a_refusal_comes_with_what_to_change(
    line: str, credentials: Credentials, listed: str, refused: Mechanism, is_tls: bool, said: str
) -> None:
    told = advice(reply(line), credentials, offered=offered(listed), refused=refused, is_tls=is_tls)
    assert told == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("530 5.7.0 Must issue a STARTTLS command first", 'set tls = "starttls" in [smtp]'),
        ("530 5.7.0 use tls", 'set tls = "starttls" in [smtp]'),
        ("530 5.7.1 Authentication required", "set username and a password in [smtp]"),
        ("538 5.7.11 Encryption required", 'the relay wants TLS first: set tls = "starttls" in [smtp]'),
        ("535 5.7.8 no", ""),
        ("550 5.7.1 no", ""),
    ],
)
def test_a_reply_that_asks_for_a_login_or_for_tls_says_so_to_whatever_command(line: str, said: str) -> None:
    """RFC 3207 section 4, RFC 4954 section 6."""
    assert advice_of_code(reply(line)) == said
