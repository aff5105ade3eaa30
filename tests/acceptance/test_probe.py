"""`probe` as an operator types it: what is shown, what is said to the server, and how it ends."""

from __future__ import annotations

import poplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
import trustme

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Manners, Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import SinkRules, SmtpSink
from tests.support.connector import Connector, account, configure, letters
from tests.support.odd_pop3 import RepliesTooLong
from tests.support.processes import free_port, running, wait_until

MAIL = letters(3, prefix="probed")
LARGE = b"Subject: large\r\n\r\n" + b"x" * 5000 + b"\r\n"
# What a session may say that leaves a maildrop as it is.
HARMLESS = {"CAPA", "STLS", "USER", "PASS", "APOP", "STAT", "LIST", "UIDL", "QUIT"}


class Secretive(Pop3Session):
    """A server that does not know CAPA, as most were before RFC 2449."""

    def capa(self, _: str) -> bytes:
        return self.err(b"what?")


class Painter(Pop3Session):
    """Escape sequences wherever a server's words are shown."""

    def greeting(self) -> bytes:
        return b"+OK \x1b[2J\x9b31m <no challenge>\r\n"

    def unique_id(self, number: int) -> bytes:
        return b"\x1b]0;%d\x07\xe2\x80\xae" % number

    def capa(self, argument: str) -> bytes:
        return super().capa(argument).replace(b"USER\r\n", b"USER\r\nIMPLEMENTATION \x1b[31m\r\n")


@contextmanager
def at_server(place: Path, server: Pop3Server, **more: object) -> Iterator[Connector]:
    """A connector with the account `sales` at that server and a relay that nobody has asked yet."""
    with serving(server), serving(SmtpSink(SinkRules(size_limit_octets=8096))) as sink:
        yield configure(place, smtp_port=sink.port, accounts=[account("sales", server.port, **more)])


def maildrop(*messages: bytes, session: type[Pop3Session] = Pop3Session, manners: Manners = Manners()) -> Pop3Server:  # noqa: B008 - frozen
    return Pop3Server({"sales": ("secret", messages)}, manners, session=session)


def probed(connector: Connector, name: str = "sales") -> dict[str, object]:
    return cast(dict[str, object], connector.told("probe", name))


def fates(told: dict[str, object]) -> list[object]:
    return [one["fate"] for one in cast(list[dict[str, object]], told["messages"])]


def said(server: Pop3Server) -> set[str]:
    return {command.partition(" ")[0] for session in server.sessions for command in session.commands}


def test_before_there_is_a_spool_everything_is_new_and_none_is_made(tmp_path: Path) -> None:
    server = maildrop(*MAIL)
    with at_server(tmp_path, server) as connector:
        done = connector.run("probe", "sales")
        assert (done.returncode, done.stderr) == (0, "")
        assert not connector.spool.exists()
    rows = [line.split() for line in done.stdout.splitlines()[-3:]]
    assert rows == [[str(number), str(len(octets)), f"{number:08}", "new"] for number, octets in enumerate(MAIL, 1)]
    assert "3 messages, " in done.stdout


def test_nothing_is_retrieved_deleted_or_left_open(tmp_path: Path) -> None:
    server = maildrop(*MAIL)
    with at_server(tmp_path, server) as connector:
        connector.run("probe", "sales")
    (session,) = server.sessions
    assert said(server) <= HARMLESS
    assert session.said_quit
    assert server.maildrop("sales") == list(MAIL)


def test_after_a_drain_it_tells_new_from_had_and_from_oversize(tmp_path: Path) -> None:
    """The limit is the relay's SIZE less 4 KiB, as submit has learned it."""
    server = maildrop(MAIL[0], LARGE)
    with at_server(tmp_path, server, leave_on_server="14d") as connector:
        assert connector.drain().returncode == 0
        server.deliver("sales", MAIL[1])
        before = files(connector.spool)
        told = probed(connector)
        shown = connector.run("probe", "sales").stdout
        assert files(connector.spool) == before
    assert fates(told) == ["had", "oversize", "new"]
    assert told["limit"] == {"max_message_octets": 4000, "source": "SIZE of the relay"}
    messages = cast(list[dict[str, object]], told["messages"])
    assert messages[1] == {
        "number": 2,
        "uidl": "00000002",
        "octets": len(LARGE),
        "fate": "oversize",
        "is_asked_for": False,
        "limit_octets": 4000,
        "limit_source": "SIZE of the relay",
    }
    assert "oversize: over 4000 octets (SIZE of the relay), it stays" in shown


def files(directory: Path) -> dict[str, int]:
    """Every file of a spool with its size, but for those in which SQLite keeps its readers."""
    paths = (path for path in directory.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal")))
    return {str(path): path.stat().st_size for path in paths}


def test_it_foresees_what_the_next_drain_does(tmp_path: Path) -> None:
    server = maildrop(*MAIL, LARGE)
    limits = {"max_message_size": 1000}
    with serving(server), serving(SmtpSink()) as sink:
        accounts = [account("sales", server.port, leave_on_server=True)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, fetch=limits)
        first = fates(probed(connector))
        assert connector.drain().returncode == 0
        assert (first.count("new"), len(sink.accepted)) == (3, 3)
        assert fates(probed(connector)) == ["had", "had", "had", "oversize"]
        connector.drain()
        assert len(sink.accepted) == 3


def test_mail_that_would_be_fetched_although_it_stays_is_offered_for_adoption(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL), leave_on_server=True) as connector:
        offer = "3 messages are there already; 'pop3connector accounts adopt sales' marks them as had"
        assert offer in connector.run("probe", "sales").stdout
        assert offer in connector.run("check", "--connect").stdout
        assert connector.run("accounts", "adopt", "sales").returncode == 0
        done = connector.run("probe", "sales")
        assert ("adopt" in done.stdout, done.stdout.count("  had\n")) == (False, 3)


def test_what_was_fetched_once_is_offered_no_more(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL), leave_on_server=True) as connector:
        connector.drain()
        assert "adopt" not in connector.run("probe", "sales").stdout


def test_while_the_stages_run_it_reads_beside_them(tmp_path: Path) -> None:
    server = maildrop(*MAIL)
    with at_server(tmp_path, server, leave_on_server=True) as connector, running(connector.command("run")) as process:
        wait_until(lambda: any(session.said_quit for session in server.sessions), "the mail is fetched")
        assert fates(probed(connector)) == ["had"] * 3
        assert process.stop() == 0


def test_a_maildrop_in_use_is_one_clear_line_and_75(tmp_path: Path) -> None:
    """RFC 2449 section 8.1.1, as fetch's own session has it open."""
    server = maildrop(*MAIL)
    with at_server(tmp_path, server) as connector:
        other = poplib.POP3("127.0.0.1", server.port, timeout=10)
        other.user("sales")
        other.pass_("secret")
        done = connector.run("probe", "sales")
        other.quit()
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "the maildrop is in use" in done.stderr


def test_a_wrong_password_is_75_behind_what_was_learned(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL), password="wr0ng") as connector:
        done = connector.run("probe", "sales")
    assert (done.returncode, done.stderr) == (
        75,
        "pop3connector: login refused (APOP; the password is not sent in clear text after that: set tls, or auth to "
        "basic): [AUTH] wrong user name or password\n",
    )
    assert "greeting      +OK ready" in done.stdout
    assert "before login  USER, RESP-CODES" in done.stdout
    assert "after login" not in done.stdout
    assert "wr0ng" not in done.stdout + done.stderr


def test_a_password_that_cannot_be_had_is_78_behind_what_was_learned(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL)) as connector:
        text = connector.configuration.read_text().replace('password = "secret"', 'password_env = "NOT_SET_HERE"')
        connector.configuration.write_text(text)
        done = connector.run("probe", "sales")
    assert (done.returncode, done.stderr.count("\n"), "NOT_SET_HERE" in done.stderr) == (78, 1, True)
    assert "before login" in done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "pop.isp.invalid"])
def test_a_wrong_host_is_75_and_one_line(tmp_path: Path, host: str) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", free_port(), host=host)])
    done = connector.run("probe", "sales")
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert done.stderr.startswith(f"pop3connector: cannot connect to {host} port ")


@pytest.mark.parametrize(("typed", "meant"), [("slaes", ": 'sales' perhaps?"), ("zzz", "")])
def test_a_mistyped_account_is_64_with_the_one_that_was_meant(tmp_path: Path, typed: str, meant: str) -> None:
    connector = configure(tmp_path, smtp_port=1, accounts=[account("sales", 1), account("info", 1)])
    done = connector.run("probe", typed)
    assert (done.returncode, done.stderr) == (64, f"pop3connector: there is no account '{typed}'{meant}\n")


def test_a_server_without_capa_is_probed_all_the_same(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL, session=Secretive)) as connector:
        done = connector.run("probe", "sales")
    assert done.returncode == 0
    assert "before login  not told: the server does not know CAPA" in done.stdout
    assert done.stdout.count("  new\n") == 3


def test_no_octet_of_the_server_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL, session=Painter)) as connector:
        done = connector.run("probe", "sales")
        as_json = connector.run("probe", "sales", "--json").stdout
        checked = connector.run("check", "--connect").stdout
    assert done.returncode == 0
    assert "greeting      +OK \\x1b[2J\\x9b31m <no challenge>" in done.stdout
    assert "IMPLEMENTATION \\x1b[31m" in done.stdout
    assert "%1B]0;1%07%E2%80%AE" in done.stdout
    for text in (done.stdout, as_json, checked):
        assert text.replace("\n", "").isprintable()
        assert "\\u" not in text  # nor does it come out of JSON


def test_a_server_that_breaks_the_protocol_is_one_line(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(*MAIL, session=RepliesTooLong)) as connector:
        done = connector.run("probe", "sales")
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "after login" in done.stdout


class Tls:
    """A CA, and the server's side of TLS for a name."""

    def __init__(self, directory: Path, name: str) -> None:
        authority = trustme.CA()
        self.ca_file = directory / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(self.context)


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
def test_tls_is_shown_with_the_certificate(tmp_path: Path, mode: str) -> None:
    tls = Tls(tmp_path, "localhost")
    server = Pop3Server({"sales": ("secret", MAIL)}, tls=tls.context, implicit_tls=mode == "implicit")
    with at_server(tmp_path, server, host="localhost", tls=mode, ca_file=str(tls.ca_file)) as connector:
        told = probed(connector)
        checked = connector.run("check", "--connect").stdout
    shown = cast(dict[str, object], told["tls"])
    assert (shown["version"], shown["is_trusted"]) == ("TLSv1.3", True)
    assert cast(dict[str, object], shown["certificate"])["names"] == ["localhost"]
    assert (told["error"], told["warnings"]) == (None, [])
    assert "octets, USER, TLSv1.3\n" in checked


@pytest.mark.parametrize("mode", ["implicit", "starttls"])
@pytest.mark.parametrize("name", ["localhost", "pop.other.example"], ids=["unknown CA", "another name"])
def test_a_server_that_is_not_trusted_hears_no_password_and_its_fingerprint_can_be_pinned(
    tmp_path: Path, mode: str, name: str
) -> None:
    tls = Tls(tmp_path, name)
    server = Pop3Server({"sales": ("secret", MAIL)}, tls=tls.context, implicit_tls=mode == "implicit")
    ca = {} if name == "localhost" else {"ca_file": str(tls.ca_file)}
    with at_server(tmp_path, server, host="localhost", tls=mode, **ca) as connector:
        done = connector.run("probe", "sales")
        assert (done.returncode, done.stderr.count("\n")) == (75, 1)
        assert "tls_fingerprint" in done.stderr
        assert "certificate  NOT TRUSTED" in done.stdout
        assert said(server) <= {"STLS"}
        (pin,) = [word for word in done.stdout.split() if word.startswith('"sha256:')]
        assert pin.strip('"') in connector.run("check", "--connect").stdout
        connector.configuration.write_text(connector.configuration.read_text() + f"tls_fingerprint = {pin}\n")
        assert connector.run("probe", "sales").returncode == 0


class Crowded(Pop3Session):
    """100,000 small messages, without keeping them."""

    numbers = range(1, 100_001)

    def stat(self, _: str) -> bytes:
        return self.ok(b"%d %d" % (len(self.numbers), 100 * len(self.numbers)))

    def list_(self, _: str) -> bytes:
        return self.ok() + b"".join(b"%d 100\r\n" % number for number in self.numbers) + b".\r\n"

    def uidl(self, _: str) -> bytes:
        return self.ok() + b"".join(b"%d unique-%d\r\n" % (number, number) for number in self.numbers) + b".\r\n"


def test_a_hundred_thousand_messages_are_printed_in_bounded_time(tmp_path: Path) -> None:
    with at_server(tmp_path, maildrop(session=Crowded)) as connector:
        done = connector.run("probe", "sales", timeout=60)
        told = probed(connector)
    rows = [line.split() for line in done.stdout.splitlines()[-100_000:]]
    assert (done.returncode, rows) == (0, [[f"{n}", "100", f"unique-{n}", "new"] for n in Crowded.numbers])
    assert len(fates(told)) == 100_000
