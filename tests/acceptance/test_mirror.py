"""Events are mirrored by whatever process writes them, as `events --json` prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, account, configure
from tests.support.processes import free_port
from tests.support.spools import LETTER


def objects(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def log(connector: Connector) -> list[dict[str, object]]:
    return objects(connector.run("events", "--level", "debug", "--json").stdout)


def mirrored(connector: Connector) -> list[dict[str, object]]:
    return objects((connector.spool / "logs/events.jsonl").read_text())


def by_number(events: list[dict[str, object]]) -> dict[object, dict[str, object]]:
    return {event["event"]: event for event in events}


def test_the_file_has_what_all_processes_wrote(tmp_path: Path) -> None:
    """Stages and commands: each event once, and once more where it was said a second time."""
    maildrops = {"good": ("secret", [LETTER, b"Subject: x\r\n\r\nx\r\n"])}
    with serving(Pop3Server(maildrops)) as pop3, serving(SmtpSink()) as sink:
        accounts = [account("good", pop3.port), account("bad", free_port())]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, log={"mirror": "file"})
        for _ in range(2):
            assert connector.drain().returncode == 75
        (refused,) = connector.badmail()
        assert connector.run("badmail", "replay", str(refused["id"]), "--sender", "a@example.org").returncode == 0
        assert connector.drain().returncode == 75
    written, told = log(connector), mirrored(connector)
    assert {"fetch", "validate", "submit", "pickup"} <= {event["process"] for event in told}
    # The last line of an event has its newest count, but where that is no power of ten.
    assert by_number(told).keys() == by_number(written).keys()
    assert {event["event"] for event in told if event["count"] == 2} == {
        event["event"] for event in written if event["count"] != 1
    }
    once = [event for event in written if event["count"] == 1]
    assert [by_number(told)[event["event"]] for event in once] == once
    (failed,) = [event for event in written if event["name"] == "PollFailed"]
    assert (failed["account"], failed["count"]) == ("bad", 3)


@pytest.mark.parametrize("mirror", [{"mirror": "file", "file": "events.jsonl"}, {"mirror": "none"}])
def test_mail_moves_where_events_cannot_be_mirrored(tmp_path: Path, mirror: dict[str, str]) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with serving(Pop3Server({"sales": ("secret", [LETTER])})) as pop3, serving(SmtpSink()) as sink:
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)], log=mirror)
        drained = connector.drain()
        assert len(sink.accepted) == 1
    assert drained.returncode == 0
    assert ("events are not mirrored" in drained.stderr) is (mirror["mirror"] == "file")
    assert "Submitted" in {event["name"] for event in log(connector)}


def test_a_life_is_told_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    """Refused, replayed with another sender, delivered: found by the Message-ID, told by `spool trace`."""
    letter = b"Message-ID: <1@example.org>\r\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?= 42\r\n\r\nx\r\n"
    with serving(Pop3Server({"sales": ("secret", [letter])})) as pop3, serving(SmtpSink()) as sink:
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        connector.drain()
        (refused,) = connector.badmail()
        connector.run("badmail", "replay", str(refused["id"]), "--sender", "a@example.org")
        assert connector.drain().returncode == 0
    for what in ("<1@example.org>", "größe 42"):
        told = connector.told("spool", "trace", what)
        assert isinstance(told, dict)
        life = told["life"]
        assert (told["count"], life["id"], life["state"]) == (2, refused["id"], "replayed")
        assert [kin["state"] for kin in life["kin"]] == ["submitted"]
        assert [(change["process"], change["name"]) for change in life["changes"]] == [
            ("fetch", "Admitted"),
            ("validate", "Refused"),
            ("pickup", "Replayed"),
            ("pickup", "Admitted"),
            ("pickup", "TakenFromPickup"),
            ("validate", "Validated"),
            ("submit", "Accepted"),
            ("submit", "Submitted"),
        ]
