"""What the options of a fetchmailrc mean to us."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.migration.fetchmailrc import mailboxes
from pipeline.migration.theirs import Mailbox, Place, Relay
from stages.secret import Secret
from stages.settings import AuthMethod, RelayProtocol, TlsMode

PLACE = Place(directory=Path("/etc"), home=Path("/home/jo"))
FOR_EVER = None
AT_ONCE = timedelta(0)


def box(text: str) -> Mailbox:
    (found,) = mailboxes(text, PLACE).mailboxes
    return found


def jo(server: str = "", user: str = "") -> Mailbox:
    return box(f"poll pop.isp.example proto pop3 {server} user jo pass secret {user}")


def notes(text: str) -> list[str]:
    return [note.text for note in mailboxes(text, PLACE).notes]


def jos_notes(server: str = "", user: str = "ssl") -> list[str]:
    return notes(f"poll pop.isp.example proto pop3 {server} user jo pass secret {user}")


def test_an_account_is_carried_over_whole() -> None:
    text = """
        set daemon 600
        poll isp via pop.isp.example proto pop3 service 7995 interval 3
            user "sales" there with password "4u but" is verkauf here
            options ssl keep sslcertfile ca.pem sslcert me.pem sslkey /k.pem smtphost mx/2525
    """
    assert mailboxes(text, PLACE).notes == ()
    assert box(text) == Mailbox(
        line=3,
        name="sales@isp",
        host="pop.isp.example",
        username="sales",
        port=7995,
        tls=TlsMode.IMPLICIT,
        password=Secret("4u but"),
        local="verkauf",
        interval=timedelta(minutes=30),
        leave=FOR_EVER,
        ca_file=Path("/etc/ca.pem"),
        certificate=Path("/etc/me.pem"),
        key=Path("/k.pem"),
        relay=Relay(host="mx", port=2525, protocol=RelayProtocol.SMTP),
        seen=box(text).seen,
    )


@pytest.mark.parametrize(
    ("user", "tls", "said"),
    [
        ("ssl", TlsMode.IMPLICIT, None),
        ("ssl sslproto ''", TlsMode.IMPLICIT, None),
        ("sslproto auto", TlsMode.STARTTLS, None),
        ("sslproto ''", TlsMode.NONE, "no TLS, as there"),
        ("sslproto '' sslcertck", TlsMode.STARTTLS, None),
        ("sslcertck", TlsMode.STARTTLS, None),
        ("", TlsMode.STARTTLS, "TLS where the server has it"),
    ],
)
def test_tls_is_as_the_manual_has_it(user: str, tls: TlsMode, said: str | None) -> None:
    assert jo(user=user).tls is tls
    assert [note.partition(":")[0] for note in jos_notes(user=user)] == ([said] if said else [])


def test_a_tunnel_on_this_machine_needs_no_tls() -> None:
    text = "poll localhost proto pop3 port 1110 user jo pass secret"
    assert (box(text).tls, notes(text)) == (TlsMode.NONE, [])


@pytest.mark.parametrize(
    ("user", "leave"), [("", AT_ONCE), ("nokeep", AT_ONCE), ("keep", FOR_EVER), ("fetchall", AT_ONCE)]
)
def test_kept_mail_stays(user: str, leave: timedelta | None) -> None:
    assert jo(user=user).leave == leave


def test_mail_that_is_kept_and_fetched_again_and_again_is_fetched_once() -> None:
    assert jos_notes(user="ssl keep fetchall") == ["fetchall: ours fetches a message that stays once"]


@pytest.mark.parametrize(
    ("server", "auth"),
    [
        ("", AuthMethod.AUTO),
        ("auth password", AuthMethod.AUTO),
        ("auth cram-md5", AuthMethod.CRAM_MD5),
        ("auth ntlm", AuthMethod.NTLM),
        ("preauth msn", AuthMethod.SPA),
        ("auth ssh", AuthMethod.AUTO),
    ],
)
def test_logins_that_ours_has_are_carried_over(server: str, auth: AuthMethod) -> None:
    assert jo(server).auth is auth
    assert bool(jos_notes(server)) == (server == "auth ssh")


def test_apop_is_a_protocol_there() -> None:
    assert box("poll a.example proto APOP user jo pass s ssl").auth is AuthMethod.APOP


@pytest.mark.parametrize("proto", ["imap", "IMAP", "etrn", "odmr", "pop2", "rpop", "kpop"])
def test_what_is_not_pop3_is_left_out_by_name(proto: str) -> None:
    found = mailboxes(f"\npoll a.example proto {proto} user jo pass s", PLACE)
    assert found.mailboxes == ()
    assert [(note.line, note.text) for note in found.notes] == [
        (2, f"a.example: left out, it is not POP3 but {proto.upper()}")
    ]


def test_without_a_protocol_pop3_is_assumed_and_said() -> None:
    assert notes("poll a.example user jo pass s ssl") == ["a.example: no protocol is named; taken for POP3"]


@pytest.mark.parametrize(
    ("user", "local", "is_multidrop"),
    [
        ("is al here", "al", False),
        ("is al@corp.example here", "al@corp.example", False),
        ("to a b here", None, True),
        ("to * here", None, True),
        ("to 'x'='al' here", "al", False),
        ("smtpname al@corp.example", "al@corp.example", False),
        ("", None, False),
    ],
)
def test_whom_mail_is_for_is_carried_over_where_it_is_one(user: str, local: str | None, is_multidrop: bool) -> None:
    assert (jo(user=user).local, jo(user=user).is_multidrop) == (local, is_multidrop)


def test_the_domain_of_smtpaddress_completes_local_users() -> None:
    assert jo(user="is al here smtpaddress corp.example").domain == "corp.example"


@pytest.mark.parametrize(
    ("settings", "server", "interval"),
    [
        ("set daemon 600", "", timedelta(minutes=10)),
        ("set daemon 600", "interval 2", timedelta(minutes=20)),
        ("set daemon 60", "", None),
        ("set daemon 86400", "interval 2", None),
        ("set daemon 999999999999999999999", "", None),
        ("", "interval 2", None),
        ("", "", None),
    ],
)
def test_an_interval_is_carried_over_where_ours_may_be_so_long(
    settings: str, server: str, interval: timedelta | None
) -> None:
    text = f"{settings} poll a.example proto pop3 {server} user jo pass s ssl"
    assert box(text).interval == interval
    assert bool(notes(text)) == (interval is None and bool(settings + server))


@pytest.mark.parametrize(
    ("user", "relay"),
    [
        ("smtphost mx", Relay(host="mx", port=None, protocol=RelayProtocol.SMTP)),
        ("smtphost mx/24 lmtp", Relay(host="mx", port=24, protocol=RelayProtocol.LMTP)),
        ("smtphost /run/lmtp lmtp", Relay(host="/run/lmtp", port=None, protocol=RelayProtocol.LMTP)),
        ("smtphost mx lmtp", None),
        ("smtphost mx/smtp", None),
        ("smtphost mx mda /bin/mail", None),
        ("", None),
    ],
)
def test_a_relay_is_taken_where_it_is_told_whole(user: str, relay: Relay | None) -> None:
    assert jo(user=user).relay == relay
    assert bool(jos_notes(user=f"ssl {user}")) == (relay is None and bool(user))


def test_a_fingerprint_is_md5_there_and_cannot_be_carried_over() -> None:
    assert jo(user="sslfingerprint 'AA:BB'").fingerprints == ()
    assert jos_notes(user="ssl sslfingerprint 'AA:BB'")[0].startswith("sslfingerprint: it is an MD5 hash")


def test_a_certificate_that_was_not_checked_is_checked() -> None:
    (note,) = jos_notes(user="ssl no sslcertck")
    assert note.startswith("no sslcertck: ours always checks")


@pytest.mark.parametrize(
    "option",
    ["mda '/bin/mail'", "limit 1000", "preconnect 'ssh x'", "flush", "mimedecode", "rewrite", "folder INBOX.x"],
)
def test_an_option_without_counterpart_is_listed(option: str) -> None:
    assert [note.partition(":")[0] for note in jos_notes(user=f"ssl {option}")] == [option.partition(" ")[0]]


@pytest.mark.parametrize("option", ["uidl", "no dns", "envelope X", "plugin 'ssh %h'", "timeout 60"])
def test_server_options_are_listed_but_for_what_ours_does_anyway(option: str) -> None:
    assert bool(jos_notes(option)) == (option not in ("uidl", "no dns"))


def test_what_defaults_say_is_listed_once() -> None:
    text = (
        "defaults timeout 60\npoll a.example proto pop3 user a pass s ssl\npoll b.example proto pop3 user b pass s ssl"
    )
    assert [(note.line, note.text) for note in mailboxes(text, PLACE).notes] == [
        (1, "timeout: see fetch.timeout, for all accounts")
    ]


def test_what_is_skipped_is_disabled() -> None:
    assert not box("skip a.example proto pop3 user jo pass s").is_enabled


def test_the_list_of_seen_uidls_is_where_the_file_says_or_where_it_is_kept() -> None:
    assert box("set idfile .ids poll a.example user jo").seen == (Path("/etc/.ids"),)
    assert Path("/home/jo/.fetchids") in jo().seen


def test_no_note_repeats_a_password() -> None:
    text = "poll a.example proto pop3 esmtppassword s3cret user jo pass s3cret passwordfile /x mda 'x'"
    assert not any("s3cret" in note for note in notes(text))
    assert "s3cret" not in repr(box(text))
