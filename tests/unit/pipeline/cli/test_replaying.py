"""`badmail replay`."""

from __future__ import annotations

import pytest

from spool.envelope import Reason
from spool.opening import Spool
from spool.queue_id import QueueId
from tests.support.shell import Shell
from tests.support.spools import LETTER, arrival, make_ready, message
from tests.unit.pipeline.cli.test_messages import make_badmail


def replayed(spool: Spool, queue_id: QueueId) -> bytes:
    child = message(spool, queue_id).replay_id
    assert child is not None
    return spool.layout.pickup_message(child).read_bytes()


def test_a_replay_goes_into_pickup_with_its_mended_envelope(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    shell.lines("badmail", "replay", queue_id, "--sender", "bob@example.org", "--to", "a@corp.example")
    put = replayed(spool, queue_id)
    assert b"X-Sender: <bob@example.org>\r\nX-Receiver: <a@corp.example>\r\n" in put
    assert put.endswith(LETTER)


def test_the_new_queue_id_is_told(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    (line,) = shell.lines("badmail", "replay", queue_id)
    assert line == f"{queue_id} replayed as {message(spool, queue_id).replay_id}"


def test_the_null_reverse_path_may_be_given(shell: Shell, spool: Spool) -> None:
    """RFC 5321 section 4.5.5: notifications have it, so that nothing is returned to them."""
    queue_id = make_badmail(spool)
    shell.lines("badmail", "replay", queue_id, "--sender", "<>")
    assert b"X-Sender: <>\r\n" in replayed(spool, queue_id)


def test_the_null_reverse_path_has_an_option_of_its_own(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    shell.lines("badmail", "replay", queue_id, "--null-sender")
    assert b"X-Sender: <>\r\n" in replayed(spool, queue_id)


def test_a_sender_and_the_null_one_exclude_each_other(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    code, said = shell.failure("badmail", "replay", queue_id, "--null-sender", "--sender", "a@b.example")
    assert (code, said) == (64, "pop3connector: give --sender or --null-sender, not both\n")
    assert message(spool, queue_id).replay_id is None


def test_all_that_was_refused_for_a_reason_is_replayed(shell: Shell, spool: Spool) -> None:
    spam = make_badmail(spool)
    ours = make_badmail(spool, b"Subject: 2\r\n\r\n", reason=Reason(stage="validate", text="no usable return path"))
    (line,) = shell.lines("badmail", "replay", "--reason", "550")
    assert line.startswith(f"{spam} replayed as ")
    assert message(spool, ours).replay_id is None


@pytest.mark.parametrize("text", ["../../x", "/etc/passwd", "..", "01kdvdnb6d0tzr4866/../x", "--"])
def test_a_path_is_no_queue_id(shell: Shell, spool: Spool, text: str) -> None:
    make_badmail(spool)
    code, said = shell.failure("badmail", "replay", text)
    assert (code, said.count("\n")) == (64, 1)
    assert list(spool.layout.pickup.glob("*.eml")) == []


def test_it_is_said_where_a_message_is_that_is_not_in_badmail(shell: Shell, spool: Spool) -> None:
    (ready,) = make_ready(spool, arrival(uidl="other"))
    assert shell.failure("badmail", "replay", ready) == (
        65,
        f"pop3connector: message {ready} is not in Badmail: it is ready, see `spool show`\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sender", "no address"),
        ("--sender", "a@b.example\r\nX-Receiver: <c@d.example>"),
        ("--to", "<>"),
        ("--to", "a b@corp.example"),
    ],
)
def test_an_address_that_is_none_is_wrong_usage_and_replays_nothing(
    shell: Shell, spool: Spool, arguments: tuple[str, str]
) -> None:
    queue_id = make_badmail(spool)
    code, said = shell.failure("badmail", "replay", queue_id, *arguments)
    assert (code, said.count("\n")) == (64, 1)
    assert message(spool, queue_id).replay_id is None


def test_a_second_replay_is_refused_and_names_the_first(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    shell.lines("badmail", "replay", queue_id)
    code, said = shell.failure("badmail", "replay", queue_id)
    assert code == 65
    assert str(message(spool, queue_id).replay_id) in said


def test_one_that_cannot_be_replayed_does_not_keep_back_the_others(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    assert shell.failure("badmail", "replay", "0" * 18, queue_id)[0] == 65
    assert message(spool, queue_id).replay_id is not None


def test_all_means_what_is_not_replayed_already(shell: Shell, spool: Spool) -> None:
    first, second = make_badmail(spool, b"Subject: 1\r\n\r\n"), make_badmail(spool, b"Subject: 2\r\n\r\n")
    shell.lines("badmail", "replay", first)
    assert [line.partition(" ")[0] for line in shell.lines("badmail", "replay", "--all")] == [second]


@pytest.mark.parametrize("arguments", [(), ("0" * 18, "--all")])
def test_either_some_are_named_or_all(shell: Shell, spool: Spool, arguments: tuple[str, ...]) -> None:
    assert shell.failure("badmail", "replay", *arguments)[0] == 64
