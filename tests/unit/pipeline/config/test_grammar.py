"""The small languages of the configuration file."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from pipeline.config import grammar
from stages.settings import TlsMode


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86400), ("14d", 14 * 86400), ("0s", 0), ("36500d", 3153600000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert grammar.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    ["", "15", 15, "15 m", "1h30m", "-1m", "1.5h", "15M", "m", "\N{ARABIC-INDIC DIGIT ONE}m", "15m\n", None, True],
)
def test_anything_else_is_not_a_duration(value: object) -> None:
    """One spelling for one duration: what is not in the contract is not guessed at."""
    with pytest.raises(ValueError, match="is not a duration"):
        grammar.duration(value)


def test_a_duration_that_dates_cannot_carry_is_refused() -> None:
    """Now minus 999,999,999 days is before the year 1: the failure would come weeks later, from arithmetic."""
    with pytest.raises(ValueError, match="century"):
        grammar.duration("999999999d")


def test_a_time_limit_is_not_zero() -> None:
    with pytest.raises(ValueError, match="longer than zero"):
        grammar.time_limit("0s")


@pytest.mark.parametrize("text", ["5m", "300s", "24h", "1d"])
def test_an_interval_may_be_at_its_bounds(text: str) -> None:
    assert timedelta(minutes=5) <= grammar.poll_interval(text) <= timedelta(hours=24)


@pytest.mark.parametrize("text", ["299s", "86401s", "0m", "2d"])
def test_an_interval_beyond_its_bounds_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(ValueError, match="5m to 24h"):
        grammar.poll_interval(text)


@pytest.mark.parametrize(("value", "kept"), [(False, timedelta(0)), (True, None), ("14d", timedelta(days=14))])
def test_leaving_on_the_server_is_never_always_or_for_a_time(value: object, kept: timedelta | None) -> None:
    assert grammar.keep_time(value) == kept


@pytest.mark.parametrize("value", [0, 1, 14, 1.0, "yes", None])
def test_a_number_does_not_say_how_long_to_leave_mail(value: object) -> None:
    """`1` equals `True` in Python; here it must not mean "for ever"."""
    with pytest.raises(ValueError, match=r"duration"):
        grammar.keep_time(value)


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        (0, 0),
        (4096, 4096),
        ("10MB", 10_000_000),
        ("10MiB", 10_485_760),
        ("10 MiB", 10_485_760),
        ("1kb", 1000),
        ("2GiB", 2**31),
    ],
)
def test_a_size_is_octets_or_a_number_and_a_unit(value: object, octets: int) -> None:
    assert grammar.size(value) == octets


@pytest.mark.parametrize("value", [-1, True, 1.5, "10", "MB", "10M", "10 MB ", "-1MB", "10XB", None, []])
def test_anything_else_is_not_a_size(value: object) -> None:
    """`10M` could be either of two sizes."""
    with pytest.raises(ValueError, match="is not a size"):
        grammar.size(value)


def test_a_size_that_the_index_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than any disk"):
        grammar.size("999999999999999TB")


def test_an_automatic_limit_is_no_number() -> None:
    assert grammar.size_limit("auto") is None


def test_a_limit_of_zero_octets_is_refused() -> None:
    """It would leave all mail at the provider for ever."""
    with pytest.raises(ValueError, match="at least one octet"):
        grammar.size_limit(0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("POP.ISP.example", "pop.isp.example"),
        ("pop.isp.example.", "pop.isp.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
    ],
)
def test_a_host_is_lower_case_without_the_root_dot(text: str, expected: str) -> None:
    assert grammar.host(text) == expected


@pytest.mark.parametrize(
    "value", ["", "a b", "a\r\nb", "-x", "[::1]", "fe80::1%eth0", "pop3://isp.example", "isp.example:110", 5]
)
def test_what_cannot_be_looked_up_is_not_a_host(value: object) -> None:
    with pytest.raises(ValueError, match=r"host name|empty|control|string"):
        grammar.host(value)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_told_from_the_network(host: str, local: bool) -> None:
    """The default of `smtp.tls` hangs on it: a password must not leave the machine in clear by default."""
    assert grammar.is_loopback(host) is local


def test_one_address_may_stand_without_its_array() -> None:
    assert grammar.addresses("Sales@Corp.EXAMPLE") == ("Sales@corp.example",)


def test_an_address_given_twice_gets_one_copy() -> None:
    assert grammar.addresses(["a@corp.example", "a@CORP.example", "b@corp.example"]) == (
        "a@corp.example",
        "b@corp.example",
    )


@pytest.mark.parametrize(
    "value",
    [
        "sales",
        "@corp.example",
        "sales@",
        "a b@corp.example",
        "<a@corp.example>",
        "a@corp.example\r\nRCPT TO:<b@x>",
        "a@b@c",
        "a\0@corp.example",
        ".a@corp.example",
        "a..b@corp.example",
        "a@-corp.example",
        "a@corp..example",
        "x" * 65 + "@corp.example",
        7,
    ],
)
def test_what_could_break_an_smtp_command_is_not_an_address(value: object) -> None:
    with pytest.raises(ValueError, match=r"address|domain|control|string"):
        grammar.addresses(value)


def test_mail_needs_somewhere_to_go() -> None:
    with pytest.raises(ValueError, match="at least one"):
        grammar.addresses([])


def test_a_fingerprint_may_be_written_as_openssl_prints_it() -> None:
    assert grammar.fingerprints("SHA256:" + ":".join(["AB"] * 32)) == ("sha256:" + "ab" * 32,)


@pytest.mark.parametrize("value", ["ab" * 32, "sha1:" + "ab" * 20, "sha256:" + "ab" * 31, "sha256:" + "zz" * 32, 5])
def test_a_fingerprint_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"sha256|string"):
        grammar.fingerprints(value)


def test_an_owner_is_a_user_of_this_machine_or_a_number() -> None:
    assert grammar.owner_uids(["root", 1234]) == {0, 1234}


def test_an_unknown_owner_is_named() -> None:
    with pytest.raises(ValueError, match='"no-such-user-here"'):
        grammar.owner_uids(["no-such-user-here"])


def test_a_word_of_a_later_version_is_told_from_a_wrong_one() -> None:
    parse = grammar.choice(TlsMode, later=frozenset({"quic"}))
    with pytest.raises(ValueError, match="not supported by this version; use none, starttls or implicit"):
        parse("quic")
    with pytest.raises(ValueError, match="not one of none, starttls or implicit"):
        parse("statrtls")


def test_a_word_that_means_nothing_here_is_not_offered() -> None:
    parse = grammar.choice(TlsMode, without=frozenset({TlsMode.IMPLICIT}))
    assert parse("starttls") is TlsMode.STARTTLS
    with pytest.raises(ValueError, match='"implicit" is not one of none or starttls'):
        parse("implicit")


@pytest.mark.parametrize("value", [31337, ["31337"], "31337\r\n", "313\0"])
def test_a_wrong_password_is_not_quoted(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be|has a line end") as refusal:
        grammar.secret(value)
    assert "313" not in str(refusal.value)


def test_a_quoted_value_is_one_bounded_line_of_ascii() -> None:
    quoted = grammar.shown("\x1b[2J\u202e\n" + "x" * 1000 + os.linesep)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert len(quoted) <= 80


@pytest.mark.parametrize(
    "value",
    ["https://login.example/a/token?p=1", "https://login.example:8443", "http://127.0.0.1:8080/t", "http://[::1]/t"],
)
def test_an_endpoint_is_https_or_on_this_machine(value: str) -> None:
    assert grammar.endpoint(value) == value


@pytest.mark.parametrize(
    "value", ["http://login.example/t", "http://127.0.0.1.example/t", "ftp://localhost/", "httpx://a/"]
)
def test_an_endpoint_that_would_be_told_secrets_in_clear_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must begin with https://"):
        grammar.endpoint(value)


@pytest.mark.parametrize(
    "value",
    [
        "login.example/t",
        "https://",
        "https:///t",
        "https://a:b@c/t",
        "https://a/t#f",
        "https://a/ t",
        "https://a:0/",
        "https://a:99999/",
        "https://[::1/",
        "https://\u00e4/",
        5,
        "https://a/\r\nX: y",
        "https://-/",
    ],
)
def test_what_is_no_endpoint_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a URL such as|must be a string|control characters"):
        grammar.endpoint(value)


def test_scopes_are_one_string() -> None:
    assert grammar.scope(["pop", "offline_access"]) == grammar.scope("pop offline_access") == "pop offline_access"
