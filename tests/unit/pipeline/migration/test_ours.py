"""A mailbox of theirs in the words of our configuration."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.migration.ours import (
    Known,
    Wishes,
    destination,
    known_accounts,
    mailbox_of,
    masked,
    name_for,
    relay_table,
    table_of,
    text_of,
)
from pipeline.migration.theirs import Mailbox, Relay, duration_text, fingerprint_of, name_of
from stages.passwords import PasswordCommand
from stages.secret import Secret
from stages.settings import AccountSettings, AuthMethod, RelayProtocol, TlsMode, TokenCommand

BOX = Mailbox(line=1, name="sales@isp", host="pop.isp.example", username="sales", tls=TlsMode.IMPLICIT)


def settled(mailbox: Mailbox, *, password: str | None = "s") -> AccountSettings:
    """The account as the stages see it: what is written is read again."""
    secret = Secret(password) if password else None
    table = table_of(mailbox, name="sales", deliver_to="sales@corp.example", password=secret)
    return parse(text_of([table], None).encode(), Path("/x/pop3connector.toml")).accounts[0]


@pytest.mark.parametrize(
    ("tls", "port", "expected"),
    [
        (TlsMode.IMPLICIT, None, 995),
        (TlsMode.STARTTLS, None, 110),
        (TlsMode.NONE, 995, 995),
        (TlsMode.IMPLICIT, 110, 110),
    ],
)
def test_host_port_and_tls_are_theirs(tls: TlsMode, port: int | None, expected: int) -> None:
    found = settled(replace(BOX, tls=tls, port=port))
    assert (found.host, found.port, found.tls, found.username) == ("pop.isp.example", expected, tls, "sales")


@pytest.mark.parametrize("leave", [timedelta(0), None, timedelta(days=14), timedelta(hours=36), timedelta(seconds=90)])
def test_how_long_mail_stays_is_theirs(leave: timedelta | None) -> None:
    assert settled(replace(BOX, leave=leave)).leave_on_server == leave


def test_a_password_is_taken_from_where_they_have_it() -> None:
    assert settled(replace(BOX, password=Secret('"\\ü'))).password == Secret('"\\ü')
    assert settled(BOX, password="typed").password == Secret("typed")
    assert settled(replace(BOX, command="pass show x"), password=None).password == PasswordCommand("pass show x")


def test_a_command_for_an_access_token_is_one_for_us() -> None:
    found = settled(replace(BOX, auth=AuthMethod.XOAUTH2, command="get token"), password=None)
    assert (found.auth, found.oauth2) == (AuthMethod.XOAUTH2, TokenCommand(command=PasswordCommand("get token")))


def test_all_else_is_carried_over() -> None:
    box = replace(
        BOX,
        auth=AuthMethod.CRAM_MD5,
        interval=timedelta(minutes=10),
        is_enabled=False,
        fingerprints=("sha256:" + "ab" * 32,),
        min_version="1.3",
    )
    found = settled(box)
    assert (found.auth, found.interval, found.enabled) == (AuthMethod.CRAM_MD5, timedelta(minutes=10), False)
    assert (found.trust.fingerprints, found.trust.min_version) == (box.fingerprints, "1.3")


@pytest.mark.parametrize(
    ("box", "wishes", "address"),
    [
        (replace(BOX, local="al"), Wishes(), None),
        (replace(BOX, local="al"), Wishes(domain="corp.example"), "al@corp.example"),
        (replace(BOX, local="al", domain="own.example"), Wishes(domain="corp.example"), "al@own.example"),
        (replace(BOX, local="al@x.example"), Wishes(domain="corp.example"), "al@x.example"),
        (replace(BOX, local="al"), Wishes(deliver_to="all@corp.example"), "all@corp.example"),
        (replace(BOX, is_multidrop=True), Wishes(domain="corp.example"), None),
        (replace(BOX, is_multidrop=True), Wishes(deliver_to="all@corp.example"), "all@corp.example"),
        (BOX, Wishes(domain="corp.example"), None),
    ],
)
def test_where_mail_goes_is_said_by_somebody(box: Mailbox, wishes: Wishes, address: str | None) -> None:
    assert destination(box, wishes) == address


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("sales@isp", [], "sales@isp"),
        ("sales@isp", ["sales@isp", "sales@isp-2"], "sales@isp-3"),
        ("a\x1b[2J\u202eb", [], "a-[2J-b"),
        ("x" * 100, [], "x" * 64),
        (" ", [], "imported"),
    ],
)
def test_names_are_fit_for_people_and_are_each_one(name: str, taken: list[str], expected: str) -> None:
    assert name_for(replace(BOX, name=name), Wishes(), taken=taken) == expected


def test_a_name_that_was_wished_for_counts() -> None:
    assert name_for(BOX, Wishes(name="sales"), taken=[]) == "sales"


@pytest.mark.parametrize(
    ("relay", "table"),
    [
        (Relay(host="mx", port=None, protocol=RelayProtocol.SMTP), {"host": "mx"}),
        (Relay(host="mx", port=24, protocol=RelayProtocol.LMTP), {"host": "mx", "port": 24, "protocol": "lmtp"}),
        (Relay(host="/s", port=None, protocol=RelayProtocol.LMTP), {"host": "/s", "protocol": "lmtp"}),
    ],
)
def test_a_relay_is_written_as_smtp_has_it(relay: Relay, table: dict[str, object]) -> None:
    assert relay_table(relay) == table
    assert parse(text_of([], relay_table(relay)).encode(), Path("/x")).smtp.host == relay.host


def test_no_password_is_shown() -> None:
    table = table_of(BOX, name="sales", deliver_to="a@b.example", password=Secret("s3cret"))
    assert "s3cret" not in text_of([masked(table)], None)


def test_the_accounts_of_a_file_are_known_by_their_mailbox() -> None:
    raw = {"accounts": [{"name": "a", "host": "POP.isp.example.", "username": "Sales"}, "nonsense"]}
    assert known_accounts(raw) == [Known(name="a", mailbox=mailbox_of("pop.isp.example", "Sales"))]
    assert known_accounts({"accounts": 3}) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (90, "90s"), (300, "5m"), (3600, "1h"), (86400, "1d"), (129600, "36h")]
)
def test_durations_are_written_in_the_largest_unit_that_fits(seconds: int, text: str) -> None:
    assert duration_text(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "is_sha256"), [("AB:" * 31 + "AB", True), ("ab" * 32, True), ("AB:CD", False), ("g" * 64, False)]
)
def test_sha256_alone_is_a_fingerprint_of_ours(text: str, is_sha256: bool) -> None:
    assert fingerprint_of(text) == ("sha256:" + "ab" * 32 if is_sha256 else None)


def test_an_address_is_a_name_by_itself() -> None:
    assert [name_of(user, "pop.example") for user in ("jo", "jo@isp.example", None)] == [
        *("jo@pop.example", "jo@isp.example", "pop.example")
    ]
