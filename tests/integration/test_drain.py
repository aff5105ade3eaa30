"""`run --drain` between two servers: what moves, what stays, and that there is one at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server, Pop3Session
from pipeline.demo.smtp_sink import Part, Refusal, SinkRules, SmtpSink
from tests.support.connector import account, configure, letters, without_our_received
from tests.support.processes import running, wait_until


class Waiting(Pop3Session):
    """Answers RETR when it is let."""

    may_go = threading.Event()
    was_asked = threading.Event()

    def retr(self, argument: str) -> bytes:
        self.was_asked.set()
        assert self.may_go.wait(60)
        return super().retr(argument)


def test_a_second_drain_beside_a_running_one_is_refused_naming_its_pid(tmp_path: Path) -> None:
    class Held(Waiting):
        may_go = threading.Event()
        was_asked = threading.Event()

    pop3, sink = Pop3Server({"sales": ("secret", letters(10, prefix="one"))}, session=Held), SmtpSink()
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        with running(connector.command("run", "--drain")) as first:
            wait_until(Held.was_asked.is_set, "the first drain retrieves")
            second = connector.drain()
            Held.may_go.set()
            assert second.returncode == 75
            assert str(first.pid) in second.stderr
            assert first.ended() == 0, first.output
        assert len(sink.accepted) == 10
        assert pop3.maildrop("sales") == []


def test_a_drain_beside_a_stage_that_runs_alone_is_refused(tmp_path: Path) -> None:
    sink = SmtpSink()
    with serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[])
        with running(connector.command("stage", "submit")) as stage:
            pid = connector.spool / "locks" / "submit.pid"
            wait_until(lambda: pid.exists() and pid.read_text(), "submit holds its stage")
            second = connector.drain()
            assert second.returncode == 75
            assert f"submit is held by process {stage.pid}" in second.stderr


def test_an_oversize_message_stays_at_the_provider_and_is_told_of(tmp_path: Path) -> None:
    """The limit is what the relay says, less 4 KiB for our header."""
    small, large = letters(1, prefix="small")[0], letters(1, prefix="large")[0] + b"x" * 20_000 + b"\r\n"
    pop3, sink = Pop3Server({"sales": ("secret", [large, small])}), SmtpSink(SinkRules(size_limit_octets=16_384))
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        done = connector.drain()
        assert done.returncode == 0, done.stderr
        assert pop3.maildrop("sales") == [large]
        assert [without_our_received(one.content) for one in sink.accepted] == [small]
        status = connector.told("status")
        assert isinstance(status, dict)
        (told,) = status["accounts"]
        (left,) = told["left"]
        assert (told["oversize"], left["octets"]) == (1, len(large))
        assert (left["limit_octets"], left["limit_source"]) == (16_384 - 4096, "SIZE of the relay")


def test_an_oversize_message_may_go_to_badmail(tmp_path: Path) -> None:
    large = letters(1, prefix="large")[0] + b"x" * 20_000 + b"\r\n"
    pop3, sink = Pop3Server({"sales": ("secret", [large])}), SmtpSink(SinkRules(size_limit_octets=16_384))
    with serving(pop3), serving(sink):
        accounts = [account("sales", pop3.port)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, fetch={"oversize": "badmail"})
        assert connector.drain().returncode == 0
        assert pop3.maildrop("sales") == []
        assert sink.accepted == []
        assert len(connector.badmail()) == 1


def test_a_refused_message_is_replayed_with_another_sender(tmp_path: Path) -> None:
    refusal = Refusal(part=Part.REVERSE_PATH, marker=b"forged.example", reply="550 5.1.8 Sender refused")
    message = letters(1, prefix="one", sender="odd@forged.example")[0]
    pop3, sink = Pop3Server({"sales": ("secret", [message])}), SmtpSink(SinkRules(refusals=(refusal,)))
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        assert connector.drain().returncode == 0
        [refused] = connector.badmail()
        replay = connector.run("badmail", "replay", str(refused["id"]), "--sender", "alice@example.org")
        assert replay.returncode == 0, replay.stderr
        assert connector.drain().returncode == 0
        [sent] = sink.accepted
        assert (sent.reverse_path, sent.recipients) == ("alice@example.org", ("sales@corp.example",))
        assert without_our_received(sent.content) == message
        assert connector.badmail() == []
        states = {str(one["id"]): one["state"] for one in connector.messages()}
        assert states.pop(str(refused["id"])) == "replayed"
        assert list(states.values()) == ["submitted"]
        assert connector.problems() == []


def test_a_badmail_file_copied_into_pickup_is_sent(tmp_path: Path) -> None:
    """The operator has mended its X-Sender with an editor."""
    refusal = Refusal(part=Part.REVERSE_PATH, marker=b"forged.example", reply="550 5.1.8 Sender refused")
    message = letters(1, prefix="one", sender="odd@forged.example")[0]
    pop3, sink = Pop3Server({"sales": ("secret", [message])}), SmtpSink(SinkRules(refusals=(refusal,)))
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        assert connector.drain().returncode == 0
        [file] = (connector.spool / "Badmail").iterdir()
        mended = file.read_bytes().replace(b"X-Sender: <odd@forged.example>", b"X-Sender: <alice@example.org>")
        (connector.spool / "Pickup" / "mended.eml").write_bytes(mended)
        assert connector.drain().returncode == 0
        assert [without_our_received(one.content) for one in sink.accepted] == [message]
        assert list((connector.spool / "Badmail").iterdir()) == []
        assert list((connector.spool / "Pickup").glob("*.eml")) == []
        assert connector.problems() == []


def test_a_message_dropped_into_pickup_is_sent(tmp_path: Path) -> None:
    sink = SmtpSink()
    message = letters(1, prefix="one")[0]
    with serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[], pickup={"accept_domains": ["corp.example"]})
        assert connector.drain().returncode == 0
        block = b"X-Sender: <bob@example.org>\r\nX-Receiver: <sales@corp.example>\r\nX-EndOfInjectedXHeaders: 0\r\n"
        (connector.spool / "Pickup" / "one.eml").write_bytes(block + message)
        done = connector.drain()
        assert done.returncode == 0, done.stderr
        [sent] = sink.accepted
        assert (sent.reverse_path, sent.recipients) == ("bob@example.org", ("sales@corp.example",))
        assert without_our_received(sent.content) == message


def test_what_the_relay_puts_off_is_told_by_the_exit_code_and_sent_later(tmp_path: Path) -> None:
    pop3, sink = Pop3Server({"sales": ("secret", letters(3, prefix="one"))}), SmtpSink(SinkRules(greylists=True))
    with serving(pop3), serving(sink):
        accounts = [account("sales", pop3.port)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, submit={"retry_initial": "1s"})
        assert connector.drain().returncode == 75

        def is_done() -> bool:
            return connector.drain().returncode == 0

        wait_until(is_done, "the deferred messages are due and sent")
        assert len(sink.accepted) == 3
