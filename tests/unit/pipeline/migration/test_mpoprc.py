"""What the commands of an mpoprc mean to us."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.migration.mpoprc import mailboxes
from pipeline.migration.theirs import Mailbox, Place, Unreadable
from stages.secret import Secret
from stages.settings import AuthMethod, TlsMode

PLACE = Place(directory=Path("/etc"), home=Path("/home/jo"))


def boxes(text: str) -> list[Mailbox]:
    return list(mailboxes(text, PLACE).mailboxes)


def box(*commands: str) -> Mailbox:
    (found,) = boxes("\n".join(["account a", "host pop.isp.example", "user jo", "password s", *commands]))
    return found


def notes(*commands: str) -> list[str]:
    text = "\n".join(["account a", "host pop.isp.example", "user jo", "password s", "tls on", *commands])
    return [note.text for note in mailboxes(text, PLACE).notes]


def test_an_account_is_carried_over_whole() -> None:
    text = (
        """
        defaults
        tls on
        tls_starttls off
        tls_trust_file ~/ca.pem
        account  freemail
        host pop.freemail.example
        port 7995
        user "joe smith"
        password "p w"
        auth cram-md5
        keep 1d 12h
        tls_cert_file c.pem
        tls_key_file /k.pem
        tls_fingerprint AB"""
        + ":AB" * 31
    )
    assert mailboxes(text, PLACE).notes == ()
    assert boxes(text) == [
        Mailbox(
            line=6,
            name="freemail",
            host="pop.freemail.example",
            username="joe smith",
            port=7995,
            tls=TlsMode.IMPLICIT,
            auth=AuthMethod.CRAM_MD5,
            password=Secret("p w"),
            leave=timedelta(hours=36),
            ca_file=Path("/home/jo/ca.pem"),
            certificate=Path("/etc/c.pem"),
            key=Path("/k.pem"),
            fingerprints=("sha256:" + "ab" * 32,),
            seen=(Path("/home/jo/.mpop_uidls/joe smith_at_pop.freemail.example"),),
        )
    ]


def test_an_account_inherits_what_others_say_of_themselves() -> None:
    """The present defaults come first, then the settings of the accounts named, in order, then its own."""
    text = """defaults
auth plain
account a
host a.example
user jo
account b
host b.example
defaults
auth login
account c : a, b
user al
account d : c
"""
    found = {one.name: (one.host, one.username, one.auth) for one in boxes(text)}
    assert found == {
        "a": ("a.example", "jo", AuthMethod.PLAIN),
        "b": ("b.example", None, AuthMethod.PLAIN),
        "c": ("b.example", "al", AuthMethod.LOGIN),
        "d": ("b.example", "al", AuthMethod.LOGIN),
    }


@pytest.mark.parametrize(
    ("commands", "tls"),
    [
        ((), TlsMode.NONE),
        (("tls off",), TlsMode.NONE),
        (("tls",), TlsMode.STARTTLS),
        (("tls on", "tls_starttls on"), TlsMode.STARTTLS),
        (("tls on", "tls_starttls off"), TlsMode.IMPLICIT),
        (("tls_starttls off",), TlsMode.NONE),
    ],
)
def test_tls_is_as_the_manual_has_it(commands: tuple[str, ...], tls: TlsMode) -> None:
    assert box(*commands).tls is tls


@pytest.mark.parametrize(
    ("commands", "leave"),
    [
        ((), timedelta(0)),
        (("keep off",), timedelta(0)),
        (("keep",), None),
        (("keep on",), None),
        (("keep 1d12h",), timedelta(hours=36)),
        (("keep 1d 11h 60m",), timedelta(hours=36)),
    ],
)
def test_kept_mail_stays(commands: tuple[str, ...], leave: timedelta | None) -> None:
    assert box(*commands).leave == leave


@pytest.mark.parametrize(
    ("argument", "auth"),
    [
        ("", AuthMethod.AUTO),
        ("on", AuthMethod.AUTO),
        ("user", AuthMethod.BASIC),
        ("scram-sha-256-plus", AuthMethod.SCRAM_SHA_256),
        ("xoauth2", AuthMethod.XOAUTH2),
        ("gssapi", AuthMethod.AUTO),
    ],
)
def test_logins_that_ours_has_are_carried_over(argument: str, auth: AuthMethod) -> None:
    assert box(f"auth {argument}").auth is auth
    assert bool(notes(f"auth {argument}")) == (argument == "gssapi")


def test_a_password_command_stays_a_line_for_the_shell() -> None:
    assert box("passwordeval gpg2 -q -d '~/p w.gpg' | head -1").command == "gpg2 -q -d '~/p w.gpg' | head -1"


@pytest.mark.parametrize(
    ("argument", "file"),
    [
        ("~/u/%U-%H", "/home/jo/u/jo-pop.isp.example"),
        ("/all", "/all"),
        ("", "/home/jo/.mpop_uidls/jo_at_pop.isp.example"),
    ],
)
def test_the_list_of_seen_uidls_is_where_the_file_says(argument: str, file: str) -> None:
    assert box(f"uidls_file {argument}").seen == (Path(file),)


def test_a_user_name_with_a_mark_of_its_own_is_put_in_as_it_is() -> None:
    assert box("user %H", "uidls_file /u/%U").seen == (Path("/u/%H"),)


@pytest.mark.parametrize(
    "command",
    [
        *(
            "delivery mbox ~/x",
            "killsize 1m",
            "skipsize 9",
            "filter grep -q x",
            "timeout 9",
            "proxy_host p",
            "eval echo x",
        ),
        *(
            "tls_crl_file x",
            "tls_priorities x",
            "tls_certcheck off",
            "only_new off",
            "tls_fingerprint AA:BB",
            "newword x",
        ),
    ],
)
def test_what_has_no_counterpart_is_listed(command: str) -> None:
    (note,) = notes(command)
    assert note.startswith(command.partition(" ")[0])


@pytest.mark.parametrize("command", ["pipelining on", "received_header", "tls_certcheck on", "only_new"])
def test_what_ours_does_anyway_is_not(command: str) -> None:
    assert notes(command) == []


def test_an_account_without_a_server_of_its_own_is_left_out_by_name() -> None:
    found = mailboxes("account a\nuser jo\naccount b\nhost b.example\nsocket /s\n", PLACE)
    assert found.mailboxes == ()
    assert [note.line for note in found.notes] == [1, 5]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("host a.example", 1),
        ("# c\n[accounts]", 2),
        ("account", 1),
        ("account a\naccount a", 2),
        ("account a : b", 1),
        ("account a,b", 1),
        ("account a\nhost x\nport pop3", 3),
        ("account a\nhost x\nport 99999", 3),
        ("account a\nhost x\ntls perhaps", 3),
        ("account a\nhost x\nkeep 3w", 3),
    ],
)
def test_what_mpop_would_refuse_is_refused_by_its_line(text: str, line: int) -> None:
    with pytest.raises(Unreadable) as refused:
        mailboxes(text, PLACE)
    assert refused.value.line == line
