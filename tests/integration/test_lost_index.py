"""The index is lost between two drains: the stages refuse to start, a rebuild mends it, and nothing is sent twice."""

from __future__ import annotations

from pathlib import Path

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from tests.support.connector import Connector, account, configure, letters, without_our_received

SPAM = Refusal(part=Part.CONTENT, marker=b"Subject: spam", reply="554 5.7.1 Refused as spam")
FORGED = Refusal(part=Part.REVERSE_PATH, marker=b"forged.example", reply="550 5.1.8 Sender refused")


def lose_index(connector: Connector) -> None:
    for path in connector.spool.glob("index.sqlite3*"):
        path.unlink()
    lost = connector.drain()
    assert lost.returncode == 74
    assert "spool rebuild" in lost.stderr


def rebuild(connector: Connector) -> None:
    done = connector.run("spool", "rebuild")
    assert done.returncode == 0, done.stderr
    assert connector.problems() == []


def test_delivered_refused_and_kept_mail_stays_what_it_was(tmp_path: Path) -> None:
    mail = [*letters(10, prefix="good"), *letters(3, prefix="spam")]
    pop3, sink = Pop3Server({"sales": ("secret", mail)}), SmtpSink(SinkRules(refusals=(SPAM,)))
    with serving(pop3), serving(sink):
        accounts = [account("sales", pop3.port, leave_on_server=True)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts)
        assert connector.drain().returncode == 0
        lose_index(connector)
        rebuild(connector)
        again = connector.drain()
        assert again.returncode == 0, again.stderr
        assert len(sink.accepted) == 10
        assert len(connector.badmail()) == 3
        assert len(pop3.maildrop("sales")) == 13


def test_mail_goes_on_where_it_was_and_new_mail_follows(tmp_path: Path) -> None:
    old, new = letters(10, prefix="old"), letters(10, prefix="new")
    pop3, sink = Pop3Server({"sales": ("secret", old)}), SmtpSink()
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        assert connector.run("stage", "fetch", "--once").returncode == 0
        lose_index(connector)
        rebuild(connector)
        for message in new:
            pop3.deliver("sales", message)
        assert connector.drain().returncode == 0
        assert sorted(without_our_received(one.content) for one in sink.accepted) == sorted([*old, *new])
        assert pop3.maildrop("sales") == []


def test_a_replay_that_was_begun_is_sent_once(tmp_path: Path) -> None:
    """Its file lies in Pickup; that it replaces the Badmail message the file itself must tell."""
    message = letters(1, prefix="one", sender="odd@forged.example")[0]
    pop3, sink = Pop3Server({"sales": ("secret", [message])}), SmtpSink(SinkRules(refusals=(FORGED,)))
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        assert connector.drain().returncode == 0
        [refused] = connector.badmail()
        replay = connector.run("badmail", "replay", str(refused["id"]), "--sender", "alice@example.org")
        assert replay.returncode == 0, replay.stderr
        lose_index(connector)
        rebuild(connector)
        assert connector.drain().returncode == 0
        assert [one.reverse_path for one in sink.accepted] == ["alice@example.org"]
        assert connector.badmail() == []
        assert connector.problems() == []
