"""`probe` and `check --connect` at a real Dovecot: in clear, by STLS and by TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from pipeline.demo.background import serving
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, account, configure, letters
from tests.support.dovecot import HOST_NAME, Dovecot, dovecot

pytestmark = pytest.mark.real

MODES = ("none", "starttls", "implicit")
USERS = [f"{mode}-{number}" for mode in MODES for number in range(4)]


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with dovecot(dict.fromkeys(USERS, "secret")) as running:
        yield running


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with serving(SmtpSink()) as running:
        yield running


def trusting(server: Dovecot, user: str, **more: object) -> dict[str, object]:
    """An account whose name begins with its kind of TLS."""
    tls = user.partition("-")[0]
    port = server.tls_port if tls == "implicit" else server.port
    trust = {} if tls == "none" else {"ca_file": str(server.ca_file)}
    return account(user, port, host=HOST_NAME, tls=tls, **trust, **more)


def connector_at(place: Path, sink: SmtpSink, *accounts: dict[str, object]) -> Connector:
    return configure(place, smtp_port=sink.port, accounts=accounts)


def probed(connector: Connector, user: str) -> dict[str, object]:
    return cast(dict[str, object], connector.told("probe", user))


def messages(told: dict[str, object]) -> list[dict[str, object]]:
    return cast(list[dict[str, object]], told["messages"])


@pytest.mark.parametrize("mode", MODES)
def test_a_maildrop_is_shown_and_stays_as_it_was(tmp_path: Path, server: Dovecot, sink: SmtpSink, mode: str) -> None:
    user, mail = f"{mode}-0", letters(3, prefix=mode)
    for message in mail:
        server.deliver(user, message)
    told = probed(connector_at(tmp_path, sink, trusting(server, user)), user)
    assert [one["octets"] for one in messages(told)] == [len(message) for message in mail]
    assert [one["fate"] for one in messages(told)] == ["new"] * 3
    assert len({one["uidl"] for one in messages(told)} - {""}) == 3
    assert (told["count"], told["octets"], told["error"]) == (3, sum(map(len, mail)), None)
    assert str(told["greeting"]).startswith("+OK Dovecot")
    assert {"UIDL", "PIPELINING"} <= set(cast(list[str], told["capabilities"]))
    assert told["mechanism"]
    assert server.maildrop(user) == list(mail)
    # Nothing was so much as marked as seen: Dovecot moves what a session looked at from `new` to `cur`, without a flag.
    assert not [path for path in (server.maildir(user) / "cur").iterdir() if path.name.partition(":2,")[2]]


@pytest.mark.parametrize("mode", MODES)
def test_tls_is_told_with_the_certificate_that_dovecot_has(
    tmp_path: Path, server: Dovecot, sink: SmtpSink, mode: str
) -> None:
    user = f"{mode}-1"
    connector = connector_at(tmp_path, sink, trusting(server, user))
    tls = cast(dict[str, object] | None, probed(connector, user)["tls"])
    checked = connector.run("check", "--connect")
    assert checked.returncode == 0
    if mode == "none":
        assert tls is None
        assert 'the server offers STLS: set tls = "starttls"' in checked.stdout
    else:
        assert tls is not None
        assert (tls["version"], tls["is_trusted"]) == ("TLSv1.3", True)
        assert cast(dict[str, object], tls["certificate"])["names"] == [HOST_NAME, "127.0.0.1"]
        assert checked.stdout.rstrip().endswith(", TLSv1.3")


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_certificate_of_an_unknown_ca_can_be_pinned_by_what_is_shown(
    tmp_path: Path, server: Dovecot, sink: SmtpSink, mode: str
) -> None:
    user = f"{mode}-1"
    wanted = trusting(server, user)
    del wanted["ca_file"]
    connector = connector_at(tmp_path, sink, wanted)
    done = connector.run("probe", user)
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "has no known CA" in done.stderr
    shown = cast(dict[str, object], probed(connector, user)["tls"])
    assert shown["is_trusted"] is False
    assert str(shown["fingerprint"]) in done.stdout
    pinned = connector_at(tmp_path, sink, {**wanted, "tls_fingerprint": shown["fingerprint"]})
    assert pinned.run("probe", user).returncode == 0


def test_a_wrong_password_is_75_behind_what_was_learned(tmp_path: Path, server: Dovecot, sink: SmtpSink) -> None:
    done = connector_at(tmp_path, sink, trusting(server, "implicit-2", password="wrong")).run("probe", "implicit-2")
    assert (done.returncode, done.stderr.count("\n")) == (75, 1)
    assert "greeting      +OK Dovecot" in done.stdout
    assert "TLSv1.3" in done.stdout
    assert "before login  " in done.stdout


def test_what_was_fetched_is_had_and_what_came_since_is_new(tmp_path: Path, server: Dovecot, sink: SmtpSink) -> None:
    user = "starttls-3"
    for message in letters(2, prefix="first"):
        server.deliver(user, message)
    connector = connector_at(tmp_path, sink, trusting(server, user, leave_on_server="14d"))
    assert "2 messages are there already" in connector.run("check", "--connect").stdout
    assert connector.drain().returncode == 0
    server.deliver(user, letters(1, prefix="second")[0])
    assert [one["fate"] for one in messages(probed(connector, user))] == ["had", "had", "new"]
    assert "there already" not in connector.run("check", "--connect").stdout
