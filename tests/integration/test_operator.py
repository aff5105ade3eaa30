"""The operator decides while the stages run and the relay thinks: what he wants happens as soon as it can, and once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server
from pipeline.demo.smtp_sink import Part, SinkRules, SmtpSink
from spool.opening import open_spool
from spool.queries import events, open_for_reading
from spool.rows import Message
from spool.states import State
from tests.support.connector import Connector, account, configure, letters
from tests.support.processes import running, wait_until
from tests.support.spools import arrival, make_ready, message
from tests.support.submit_stage import refusing
from tests.support.waiting_sink import ACCEPT, WaitingSink

LATER, NO = "451 4.3.0 later", "550 5.7.1 no"
WORDS = {"hold": ["hold"], "requeue": ["requeue"], "discard": ["rm", "--yes"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """A connector at work before a relay that waits."""

    connector: Connector
    sink: WaitingSink

    def decide(self, word: str, queue_id: str) -> str:
        """Type the command; answers what it prints."""
        command, *options = WORDS[word]
        done = self.connector.run("spool", command, queue_id, *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def row(self, queue_id: str) -> Message:
        spool = open_for_reading(self.connector.spool)
        try:
            return message(spool, queue_id)
        finally:
            spool.close()

    def until(self, queue_id: str, state: State) -> None:
        wait_until(lambda: self.row(queue_id).state is state, f"{queue_id} is {state}")

    def names(self, queue_id: str) -> list[str]:
        spool = open_for_reading(self.connector.spool)
        try:
            return [event.name for event in events(spool, queue_id=queue_id)]
        finally:
            spool.close()


@contextmanager
def at_work(directory: Path, *, messages: int) -> Iterator[Office]:
    """All stages at work on so many messages, one connection to the relay."""
    pop3, sink = Pop3Server({"sales": ("secret", letters(messages, prefix="one"))}), WaitingSink()
    with serving(pop3), serving(sink):
        accounts = [account("sales", pop3.port)]
        connector = configure(directory, smtp_port=sink.port, accounts=accounts, smtp={"connections": 1})
        with running(connector.command("run")):
            try:
                yield Office(connector=connector, sink=sink)
            finally:
                # Whoever still waits must not hold up the end.
                sink.is_patient = False
                sink.answer(ACCEPT)
        assert connector.problems() == []


@pytest.mark.parametrize(
    ("word", "accepted", "postponed", "refused"),
    [
        ("hold", State.SUBMITTED, State.HELD, State.BADMAIL),
        ("discard", State.SUBMITTED, State.DISCARDED, State.DISCARDED),
    ],
)
def test_what_is_decided_at_the_final_dot_takes_effect_with_the_reply(
    tmp_path: Path, word: str, accepted: State, postponed: State, refused: State
) -> None:
    with at_work(tmp_path, messages=3) as office:
        for reply, state in ((ACCEPT, accepted), (LATER, postponed), (NO, refused)):
            queue_id = office.sink.next_at_dot()
            said = office.decide(word, queue_id)
            assert said == (
                f"{queue_id} noted: takes effect when the attempt that is under way ends, unless it was accepted\n"
            )
            assert office.row(queue_id).state is State.READY
            office.sink.answer(reply)
            office.until(queue_id, state)
        assert len(set(office.sink.seen)) == len(office.sink.seen) == 3
        assert len(list((office.connector.spool / "Badmail").iterdir())) == (refused is State.BADMAIL)


def test_a_message_requeued_at_the_final_dot_is_tried_again_at_once(tmp_path: Path) -> None:
    """Not in a minute, as `retry_initial` would have it."""
    with at_work(tmp_path, messages=1) as office:
        queue_id = office.sink.next_at_dot()
        office.decide("requeue", queue_id)
        office.sink.answer(LATER)
        assert office.sink.next_at_dot() == queue_id
        office.sink.answer(ACCEPT)
        office.until(queue_id, State.SUBMITTED)
        assert office.row(queue_id).attempts == 2


def test_who_is_only_waiting_behind_another_message_is_taken_out_at_once(tmp_path: Path) -> None:
    """Submit claims ahead: what no session has sent yet need not wait for its turn."""
    with at_work(tmp_path, messages=4) as office:
        first = office.sink.next_at_dot()
        waiting = [str(one["id"]) for one in office.connector.messages() if one["id"] != first]
        wait_until(lambda: all(office.row(one).state is State.READY for one in waiting), "all are ready")
        discarded, held, sent = waiting
        office.decide("discard", discarded)
        office.decide("hold", held)
        office.until(discarded, State.DISCARDED)
        office.until(held, State.HELD)
        office.sink.answer(ACCEPT)
        assert office.sink.next_at_dot() == sent
        office.sink.answer(ACCEPT)
        office.until(sent, State.SUBMITTED)
        assert office.sink.seen == [first, sent]


def test_a_discard_outlives_the_process_that_had_the_message(tmp_path: Path) -> None:
    """Nobody knows whether the relay has it, but nobody sends it again."""
    with at_work(tmp_path, messages=2) as office:
        queue_id = office.sink.next_at_dot()
        office.decide("discard", queue_id)
        os.kill(int((office.connector.spool / "locks" / "submit.pid").read_text()), signal.SIGKILL)
        office.sink.answer(LATER)
        office.until(queue_id, State.DISCARDED)
        other = office.sink.next_at_dot()
        office.sink.answer(ACCEPT)
        office.until(other, State.SUBMITTED)
        assert office.sink.seen == [queue_id, other]
        assert office.names(queue_id)[-1] == "StateChanged"


@pytest.mark.parametrize(("word", "state"), [("hold", State.HELD), ("discard", State.DISCARDED)])
def test_what_is_decided_while_submit_is_dead_waits_for_its_next_start(tmp_path: Path, word: str, state: State) -> None:
    """Only submit can tell from its journal what became of the attempt."""
    spool = open_spool(tmp_path / "spool")
    (queue_id,) = make_ready(spool, arrival())
    spool.close()
    sink = WaitingSink()
    with serving(sink):
        office = Office(connector=configure(tmp_path, smtp_port=sink.port, accounts=[]), sink=sink)
        with running(office.connector.command("stage", "submit")) as submit:
            assert sink.next_at_dot() == queue_id
            submit.kill()
        assert "takes effect when submit starts" in office.decide(word, queue_id)
        sink.answer(LATER)
        assert office.connector.run("stage", "submit", "--once").returncode == 0
        assert office.row(queue_id).state is state
        assert sink.seen == [queue_id]


def test_a_deferred_message_is_requeued_when_the_relay_is_mended(tmp_path: Path) -> None:
    pop3 = Pop3Server({"sales": ("secret", letters(3, prefix="one"))})
    sink = SmtpSink(refusing(Part.RECIPIENT, LATER))
    with serving(pop3), serving(sink):
        connector = configure(tmp_path, smtp_port=sink.port, accounts=[account("sales", pop3.port)])
        assert connector.drain().returncode == 75
        sink.rules = SinkRules()
        done = connector.run("spool", "requeue", "--all-deferred")
        assert (done.returncode, done.stdout.count(" requeued\n")) == (0, 3)
        assert connector.drain().returncode == 0
    assert len(sink.accepted) == 3


def test_a_badmail_file_that_is_copied_into_pickup_is_a_replay(tmp_path: Path) -> None:
    """The link from old to new is kept, and the file in Badmail goes."""
    pop3, sink = Pop3Server({"sales": ("secret", letters(1, prefix="one"))}), SmtpSink(refusing(Part.CONTENT, NO))
    with serving(pop3), serving(sink):
        accounts = [account("sales", pop3.port)]
        connector = configure(tmp_path, smtp_port=sink.port, accounts=accounts, pickup={"settle": "0s"})
        assert connector.drain().returncode == 0
        (file,) = (connector.spool / "Badmail").iterdir()
        sink.rules = SinkRules()
        shutil.copy(file, connector.spool / "Pickup" / "by hand.eml")
        assert connector.drain().returncode == 0
        old, new = connector.messages()
        assert (old["id"], old["state"], new["state"]) == (file.stem, "replayed", "submitted")
        shown = connector.told("spool", "show", file.stem)
        assert isinstance(shown, dict)
        assert shown["replay_id"] == new["id"]
        assert not file.exists()
        assert connector.problems() == []
    assert len(sink.accepted) == 1
