"""What becomes of the files that are taken from Pickup."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from spool.badmail import read_badmail
from spool.content import load
from spool.dropped import list_dropped
from spool.envelope import NO_UIDL
from spool.errors import SpoolFailed
from spool.layout import Stage
from spool.message_file import digest, parse_block, parse_envelope
from spool.opening import Spool, take_stage
from spool.pickup import Inbox
from spool.queries import ignored_in_pickup
from spool.queue_id import QueueId, new_queue_id
from spool.replay import begin_replay
from spool.segments import LARGE_OCTETS, read_block
from spool.staging import Rejected
from spool.states import State
from stages.pickup.intake import Intake
from tests.support.dropping import (
    FILE,
    REASON,
    Seconds,
    drop,
    open_desk,
    others,
    refused,
    settings,
    settle,
    spool_at,
    work,
)
from tests.support.faulty_disk import FaultyDisk
from tests.support.spools import LETTER, arrival, logged, message, queue_ids, staging

AHEAD = timedelta(minutes=1)
CONTENT = b"From: ann@example.org\r\n\r\nHello.\r\n"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return spool_at(tmp_path, ahead=AHEAD)


def only(spool: Spool) -> QueueId:
    (queue_id,) = queue_ids(spool)
    return QueueId(queue_id)


def content(spool: Spool, queue_id: str) -> bytes:
    stored = message(spool, queue_id).stored
    assert stored is not None
    return load(spool, stored)


def file(*recipients: str, hint: str | None = None, body: bytes = CONTENT) -> bytes:
    lines = ["X-Sender: <ann@example.org>", *(f"X-Receiver: <{recipient}>" for recipient in recipients)]
    if hint:
        lines.append(f"X-POP3Connector-Queue-Id: {hint}")
    return "".join(f"{line}\r\n" for line in [*lines, "X-EndOfInjectedXHeaders: 0"]).encode() + body


def test_a_file_becomes_a_staged_message_with_the_envelope_that_it_asks_for(spool: Spool) -> None:
    drop(spool, file("sales@corp.example", "info@corp.example"))
    work(spool)
    row = message(spool, only(spool))
    assert (row.state, row.sender) == (State.STAGED, "ann@example.org")
    assert row.recipients == ("sales@corp.example", "info@corp.example")
    assert content(spool, row.queue_id) == CONTENT


def test_the_file_and_its_claim_are_gone_then(spool: Spool) -> None:
    path = drop(spool)
    work(spool)
    assert not path.exists()
    assert list(spool.layout.claims.iterdir()) == []


def test_the_operator_reads_which_file_became_which_message(spool: Spool) -> None:
    drop(spool, name="monday.eml")
    work(spool)
    (taken,) = [event for event in logged(spool) if event.name == "TakenFromPickup"]
    assert (taken.queue_id, taken.fields) == (only(spool), {"file": "monday.eml"})


def test_the_record_in_the_spool_holds_the_envelope(spool: Spool) -> None:
    """The index can be rebuilt from the spool, and nobody else knows whom this message is for."""
    drop(spool)
    work(spool)
    stored = message(spool, only(spool)).stored
    assert stored is not None
    found = parse_block(read_block(stored.path, stored.place))
    assert found is not None
    assert parse_envelope(found) == ("ann@example.org", ("sales@corp.example",))


def test_an_unusable_file_is_in_badmail_with_a_row_and_a_reason(spool: Spool) -> None:
    drop(spool, b"From: ann@example.org\r\n\r\nTo nobody.\r\n")
    work(spool)
    queue_id = only(spool)
    row = message(spool, queue_id)
    assert row.state is State.BADMAIL
    assert "no recipient" in str(row.reason)
    assert (
        spool.layout.badmail_message(queue_id).read_bytes().endswith(b"\r\nFrom: ann@example.org\r\n\r\nTo nobody.\r\n")
    )


def test_the_block_of_an_unusable_file_is_no_part_of_its_message(spool: Spool) -> None:
    """A replay would send the operator's lines to the recipient."""
    drop(spool, b"X-Sender: <broken\r\nX-Receiver: <sales@corp.example>\r\nX-EndOfInjectedXHeaders: 0\r\n" + CONTENT)
    work(spool)
    assert message(spool, only(spool)).sha256 == digest(CONTENT).sha256


def test_recipients_outside_accept_domains_are_refused(spool: Spool) -> None:
    drop(spool, file("sales@corp.example", "victim@elsewhere.example"))
    work(spool)
    row = message(spool, only(spool))
    assert row.state is State.BADMAIL
    assert "victim@elsewhere.example" in str(row.reason)


def test_a_refused_file_keeps_no_recipients_that_a_replay_would_believe(spool: Spool) -> None:
    """Its first lines may have been written by a sender: the operator has to name the recipient."""
    drop(spool, file("victim@elsewhere.example"))
    work(spool)
    assert message(spool, only(spool)).recipients == ()


def test_recipients_that_the_named_message_had_are_accepted(spool: Spool) -> None:
    queue_id = refused(spool)
    drop(spool, file("sales@corp.example", hint=queue_id))
    work(spool, using=settings(domain="other.example"))
    assert [message(spool, one).state for one in others(spool, queue_id)] == [State.STAGED]


def test_recipients_that_a_replay_was_given_are_accepted(spool: Spool) -> None:
    """`badmail replay --to` is the operator's own word."""
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id, recipients=["boss@elsewhere.example"])
    work(spool)
    assert message(spool, child).recipients == ("boss@elsewhere.example",)


def test_a_dropped_copy_with_the_same_bytes_replays_the_badmail_message(spool: Spool) -> None:
    queue_id = refused(spool)
    drop(spool, spool.layout.badmail_message(queue_id).read_bytes())
    work(spool)
    (child,) = others(spool, queue_id)
    row = message(spool, queue_id)
    assert (row.state, row.replay_id) == (State.REPLAYED, child)
    assert not spool.layout.badmail_message(queue_id).exists()


def test_a_replayed_message_keeps_its_account_and_its_provider(spool: Spool) -> None:
    """The trace field of the replay names the host that the message came from."""
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    work(spool)
    row, before = message(spool, child), message(spool, queue_id)
    assert (row.account, row.uidl, row.peer, row.fetched_at) == (
        before.account,
        before.uidl,
        before.peer,
        before.fetched_at,
    )


def test_a_dropped_copy_with_other_bytes_is_a_message_of_its_own(spool: Spool) -> None:
    """The queue id is a hint: it counts only with the same SHA-256."""
    queue_id = refused(spool)
    drop(spool, spool.layout.badmail_message(queue_id).read_bytes() + b"more")
    work(spool)
    (child,) = others(spool, queue_id)
    assert message(spool, queue_id).state is State.BADMAIL
    assert (message(spool, child).state, message(spool, child).account) == (State.STAGED, "")


def test_of_two_copies_one_replays(spool: Spool) -> None:
    queue_id = refused(spool)
    copy = spool.layout.badmail_message(queue_id).read_bytes()
    drop(spool, copy, name="a.eml")
    drop(spool, copy, name="b.eml")
    work(spool)
    assert len(others(spool, queue_id)) == 2
    assert [event.name for event in logged(spool)].count("Replayed") == 1


def test_a_hint_that_names_nothing_is_ignored(spool: Spool) -> None:
    drop(spool, file("sales@corp.example", hint=new_queue_id()))
    work(spool)
    assert message(spool, only(spool)).state is State.STAGED


def test_a_replay_is_admitted_under_the_id_that_it_was_promised(spool: Spool) -> None:
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id, sender="bob@example.org")
    work(spool)
    row = message(spool, child)
    assert (row.state, row.sender, content(spool, child)) == (State.STAGED, "bob@example.org", LETTER)
    assert message(spool, queue_id).state is State.REPLAYED
    assert not spool.layout.badmail_message(queue_id).exists()


def test_a_file_of_a_replay_that_was_admitted_is_unlinked(spool: Spool) -> None:
    """The command may write it again behind our back; it must not be sent twice."""
    queue_id = refused(spool)
    child = begin_replay(spool, queue_id)
    written = spool.layout.pickup_message(child).read_bytes()
    work(spool)
    drop(spool, written, name=f"{child}.eml")
    work(spool)
    assert others(spool, queue_id) == [child]
    assert not spool.layout.pickup_message(child).exists()


def test_a_large_file_is_streamed_to_a_file_of_its_own(spool: Spool) -> None:
    body = CONTENT + b"0123456789abcdef\r\n" * (LARGE_OCTETS // 18 + 1)
    drop(spool, file("sales@corp.example", body=body))
    work(spool)
    queue_id = only(spool)
    stored = message(spool, queue_id).stored
    assert stored is not None
    assert stored.path == spool.layout.large_message(Stage.PICKUP, queue_id)
    assert content(spool, queue_id) == body
    found = parse_block(read_block(stored.path, stored.place))
    assert found is not None
    assert parse_envelope(found)[1] == ("sales@corp.example",)


def test_a_large_badmail_file_dropped_as_it_is_is_a_replay(spool: Spool) -> None:
    drop(spool, file("elsewhere@out.example", body=CONTENT + b"x" * LARGE_OCTETS))
    work(spool)
    queue_id = only(spool)
    copy = spool.layout.badmail_message(queue_id).read_bytes()
    drop(spool, b"X-Receiver: <sales@corp.example>\r\n" + copy)
    work(spool)
    assert message(spool, queue_id).state is State.REPLAYED


def test_one_unusable_file_stops_no_other(spool: Spool) -> None:
    drop(spool, b"", name="a.eml")
    drop(spool, b"X-Sender: <\r\n\r\n", name="b.eml")
    drop(spool, name="c.eml")
    work(spool)
    assert sorted(message(spool, one).state for one in queue_ids(spool)) == [
        State.BADMAIL,
        State.BADMAIL,
        State.STAGED,
    ]


def test_what_exchange_says_of_a_message_is_cut_off_and_believed_in_nothing(spool: Spool) -> None:
    """A sender can write such lines as well; the trace field would tell his lies."""
    said = b"X-Source: x\r\nX-SourceIPAddress: 192.0.2.9\r\nX-HeloDomain: liar.example\r\nX-LegacyExch50: AA==\r\n"
    drop(spool, b"X-CreatedBy: MSExchange15\r\n" + said + b"X-Receiver: <sales@corp.example>\r\n" + CONTENT)
    work(spool)
    row = message(spool, only(spool))
    assert (row.account, row.peer, row.uidl) == ("", "", NO_UIDL)
    assert content(spool, row.queue_id) == CONTENT


def test_the_reason_names_the_line(spool: Spool) -> None:
    drop(spool, b"X-Sender: <ann@example.org>\nX-Receiver: bob\n" + CONTENT)
    work(spool)
    row = message(spool, only(spool))
    assert str(row.reason) == "pickup: line 2: unusable X-Receiver: no domain: bob"


LONG = b"X-Long: %s\r\n" % (b"x" * 70_000) + CONTENT


def test_a_header_over_64_kib_is_refused(spool: Spool) -> None:
    drop(spool, file("sales@corp.example", body=LONG))
    work(spool)
    assert str(message(spool, only(spool)).reason) == "pickup: the header is longer than 65536 octets"


@pytest.mark.parametrize("by", ["command", "hand"])
def test_a_message_with_a_header_that_fetch_took_is_replayed_all_the_same(spool: Spool, by: str) -> None:
    queue_id = refused(spool, arrival(LONG))
    if by == "command":
        begin_replay(spool, queue_id)
    else:
        drop(spool, spool.layout.badmail_message(queue_id).read_bytes())
    work(spool)
    (child,) = others(spool, queue_id)
    assert (message(spool, child).state, message(spool, queue_id).state) == (State.STAGED, State.REPLAYED)


def test_a_replay_may_go_to_more_recipients_than_a_dropped_file(spool: Spool) -> None:
    """The operator, or the account's `deliver_to`, named them."""
    many = [f"u{number}@corp.example" for number in range(150)]
    child = begin_replay(spool, refused(spool), recipients=many)
    work(spool)
    assert message(spool, child).recipients == tuple(many)


def test_a_file_that_somebody_opened_before_it_was_claimed_goes_back(spool: Spool) -> None:
    """He would write the rest of it into a file that is gone."""
    path = drop(spool)
    (dropped,) = list_dropped(spool.layout.pickup)
    with take_stage(spool, Stage.PICKUP) as tenure, path.open("ab") as writer:
        opened = Inbox(spool, tenure)
        assert opened.claim({new_queue_id(): dropped}) == []
        writer.write(b"more")
        opened.close()
    assert path.read_bytes() == FILE + b"more"


def test_a_large_file_for_which_there_is_no_room_goes_back_and_stops_no_other(spool: Spool) -> None:
    """Copied in, it would end the process with a full disk, and the next one, and the next."""
    large = drop(spool, FILE + b"x" * LARGE_OCTETS, name="large.eml")
    claimed = spool.layout.pickup_claim(new_queue_id())
    shutil.copy(large, claimed)
    drop(spool, name="small.eml")
    seconds = Seconds()
    with take_stage(spool, Stage.PICKUP) as tenure:
        opened = open_desk(spool, tenure, seconds=seconds, min_free_octets=1 << 60)
        opened.resume()
        settle(opened, seconds)
        opened.close()
    assert message(spool, only(spool)).state is State.STAGED
    assert large.read_bytes() == spool.layout.pickup_message(QueueId(claimed.name)).read_bytes()
    told = [event.fields["why"] for event in logged(spool) if event.name == "LeftInPickup"]
    assert told == [f"the disk has no room for its {large.stat().st_size} octets: make some, or remove it"] * 2


def test_a_large_file_goes_back_when_the_disk_fills_while_it_is_copied_in(spool: Spool) -> None:
    """It fitted when it was begun."""
    large = drop(spool, FILE + b"x" * 3 * LARGE_OCTETS)
    (dropped,) = list_dropped(spool.layout.pickup)
    answers = iter([True, True, True, False])
    with take_stage(spool, Stage.PICKUP) as tenure:
        inbox = Inbox(spool, tenure)
        domains = frozenset({"corp.example"})
        intake = Intake(spool, inbox, accept_domains=domains, has_room=lambda _: next(answers))
        assert intake.take([dropped]) == 0
        inbox.close()
    assert next(answers, None) is None
    assert large.stat().st_size == len(FILE) + 3 * LARGE_OCTETS
    assert [*spool.layout.large.iterdir(), *spool.layout.claims.iterdir(), *queue_ids(spool)] == []


def test_a_sparse_file_is_streamed(spool: Spool) -> None:
    """However large it is, no more than a piece of it is in memory."""
    with drop(spool).open("r+b") as writer:
        writer.truncate(64 * LARGE_OCTETS)
    tracemalloc.start()
    work(spool)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message(spool, only(spool)).octets > 63 * LARGE_OCTETS
    assert peak < 4 * LARGE_OCTETS


@pytest.mark.parametrize(
    "name",
    ["a\nb.eml", "\x1b[2Jx.eml", "\udcff\udcfe.eml", "\u202egnp.eml", "x" * 251 + ".eml", "-rf.eml", "$(x) ; y.eml"],
    ids=["line end", "escape", "not UTF-8", "bidi", "255 octets", "option", "shell"],
)
@pytest.mark.parametrize("is_usable", [True, False], ids=["taken", "refused"])
def test_a_file_may_have_any_name(spool: Spool, name: str, is_usable: bool) -> None:
    drop(spool, FILE if is_usable else b"nothing", name=name)
    work(spool)
    assert message(spool, only(spool)).state is (State.STAGED if is_usable else State.BADMAIL)
    (taken,) = [event for event in logged(spool) if event.name == "TakenFromPickup"]
    assert str(taken.fields["file"]).isprintable()
    assert taken.text.isprintable()


def test_a_file_of_any_name_can_be_given_back(spool: Spool) -> None:
    path = drop(spool, FILE + b"x" * LARGE_OCTETS, name="\n\udcff.eml")
    seconds = Seconds()
    with take_stage(spool, Stage.PICKUP) as tenure:
        opened = open_desk(spool, tenure, seconds=seconds, min_free_octets=1 << 60)
        settle(opened, seconds)
        opened.close()
    assert path.exists()


def test_a_name_in_capitals_is_left_alone(spool: Spool) -> None:
    """The contract is to the letter; `status` counts what is ignored."""
    path = drop(spool, name="X.EML")
    work(spool)
    assert path.exists()
    assert ignored_in_pickup(spool) == 1


@pytest.mark.parametrize("name", ["plain.eml", "unusable.eml", "large.eml", "replay", "large replay"])
def test_a_file_is_taken_exactly_once_whatever_step_the_process_dies_at(tmp_path: Path, name: str) -> None:
    """Each durable step of the intake fails once for good; the next process takes up what was left."""
    for step in range(1, 60):
        directory = tmp_path / str(step)
        directory.mkdir()
        parent, steps_were_left = _die_at(directory, step=step, name=name)
        spool = spool_at(directory, ahead=AHEAD)
        work(spool)
        work(spool)
        (child,) = others(spool, *parent)
        state = State.BADMAIL if name == "unusable.eml" else State.STAGED
        assert message(spool, child).state is state
        assert [message(spool, one).state for one in parent] == [State.REPLAYED for _ in parent]
        assert list(spool.layout.claims.iterdir()) == []
        if state is State.BADMAIL:
            assert read_badmail(spool, QueueId(child)) is not None
        spool.close()
        if not steps_were_left:
            return
    pytest.fail("the intake has more steps than were tried")


def _die_at(directory: Path, *, step: int, name: str) -> tuple[list[str], bool]:
    """Drop a file and let the process die at a durable step; answers what it replays, and whether it died."""
    disk = FaultyDisk()
    spool = spool_at(directory, ahead=AHEAD, disk=disk)
    parent: list[str] = []
    extra = b"x" * LARGE_OCTETS if "large" in name else b""
    if "replay" in name:
        parent = [refused(spool, arrival(LETTER + extra))]
        begin_replay(spool, QueueId(parent[0]))
    else:
        drop(spool, b"nothing" if name == "unusable.eml" else FILE + extra, name=name)
    seconds = Seconds()
    try:
        with take_stage(spool, Stage.PICKUP) as tenure:
            opened = open_desk(spool, tenure, seconds=seconds)
            opened.resume()
            disk.fail(step, lasting=True)
            settle(opened, seconds)
            disk.mend()
            opened.close()
    except SpoolFailed:
        return parent, True
    finally:
        spool.close()
    return parent, False


@pytest.mark.parametrize("bring", [shutil.copy, shutil.move], ids=["copied", "moved"])
def test_a_replay_that_was_refused_in_its_turn_can_be_dropped_under_its_own_name(
    spool: Spool, bring: Callable[[Path, Path], object]
) -> None:
    """A Badmail file can be dropped as it is, also where its name was promised to a replay once."""
    parent = refused(spool)
    child = begin_replay(spool, parent)
    work(spool)
    refuse_again(spool, child)
    bring(spool.layout.badmail_message(child), spool.layout.pickup_message(child))
    work(spool)
    (grandchild,) = others(spool, parent, child)
    assert (message(spool, grandchild).state, content(spool, grandchild)) == (State.STAGED, LETTER)


def refuse_again(spool: Spool, queue_id: QueueId) -> None:
    finding = Rejected(
        message=message(spool, queue_id), reason=REASON, recipients=("sales@corp.example",), subject="", sender=None
    )
    with take_stage(spool, Stage.VALIDATE) as tenure, staging(spool, tenure) as staged:
        staged.settle([finding])
