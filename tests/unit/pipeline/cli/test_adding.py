"""`pickup add`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from spool.doorbell import Doorbell
from spool.layout import Stage
from spool.message_file import block
from spool.opening import Spool
from spool.segments import LARGE_OCTETS
from spool.states import State
from stages.pickup.eml import TOP_OCTETS
from tests.support.dropping import work
from tests.support.shell import Shell
from tests.support.spools import message, queue_ids
from tests.unit.pipeline.cli.test_messages import make_badmail

MESSAGE = b"From: ann@example.org\r\nTo: sales@corp.example\r\n\r\nHello.\r\n"
ELSEWHERE = MESSAGE.replace(b"corp.example", b"elsewhere.example")


def put(spool: Spool) -> list[bytes]:
    """What lies in Pickup."""
    return [path.read_bytes() for path in sorted(spool.layout.pickup.iterdir()) if path.is_file()]


def file(shell: Shell, content: bytes = MESSAGE, *, name: str = "report.eml") -> str:
    path = shell.directory / name
    path.write_bytes(content)
    return str(path)


def test_a_file_is_put_into_pickup_as_it_is(shell: Shell, spool: Spool) -> None:
    (line, _) = shell.lines("pickup", "add", file(shell))
    assert put(spool) == [MESSAGE]
    (added,) = spool.layout.pickup.glob("*.eml")
    assert line == f"{shell.directory}/report.eml is Pickup/{added.name}"


def test_it_becomes_a_message_then(shell: Shell, spool: Spool) -> None:
    shell.lines("pickup", "add", file(shell))
    work(spool)
    (queue_id,) = queue_ids(spool)
    assert message(spool, queue_id).recipients == ("sales@corp.example",)


def test_an_envelope_that_is_given_takes_the_place_of_the_files(shell: Shell, spool: Spool) -> None:
    injected = block([("X-Sender", "<ann@example.org>"), ("X-Receiver", "<sales@corp.example>")])
    arguments = ("--sender", "bob@example.org", "--to", "a@corp.example", "--to", "<b@corp.example>")
    shell.lines("pickup", "add", file(shell, injected + MESSAGE), *arguments)
    receivers = [("X-Receiver", "<a@corp.example>"), ("X-Receiver", "<b@corp.example>")]
    assert put(spool) == [block([("X-Sender", "<bob@example.org>"), *receivers]) + MESSAGE]


@pytest.mark.parametrize("arguments", [("--null-sender",), ("--sender", "<>"), ("--sender", "")])
def test_the_null_reverse_path_may_be_given(shell: Shell, spool: Spool, arguments: tuple[str, ...]) -> None:
    """RFC 5321 section 4.5.5."""
    shell.lines("pickup", "add", file(shell), *arguments)
    work(spool)
    (queue_id,) = queue_ids(spool)
    row = message(spool, queue_id)
    assert (row.sender, row.recipients) == ("", ("sales@corp.example",))


def test_standard_input_is_a_file_too(shell: Shell, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MESSAGE)))
    (line, _) = shell.lines("pickup", "add", "-")
    assert line.startswith("standard input is Pickup/added.")
    assert put(spool) == [MESSAGE]


def test_what_is_named_is_read_whatever_it_is(shell: Shell, spool: Spool) -> None:
    """A shell gives `<(command)` as a pipe, and who types the name of a link means the file."""
    reader, writer = os.pipe()
    os.write(writer, MESSAGE)
    os.close(writer)
    link = shell.directory / "link"
    link.symlink_to(file(shell))
    shell.lines("pickup", "add", f"/dev/fd/{reader}", str(link))
    os.close(reader)
    assert put(spool) == [MESSAGE, MESSAGE]


def test_the_same_file_may_be_added_twice(shell: Shell, spool: Spool) -> None:
    """Two equal files are two messages."""
    shell.lines("pickup", "add", file(shell))
    shell.lines("pickup", "add", file(shell))
    assert put(spool) == [MESSAGE, MESSAGE]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"Hello.\n", "line 1 is no header field"),
        (MESSAGE.decode().encode("utf-16"), "the file is UTF-16"),
        (b"From ann@example.org Thu Jan  1 00:00:00 2026\n" + MESSAGE, "line 1 begins a mailbox file"),
        (b"X-Receiver: bob\n" + MESSAGE, "line 1: unusable X-Receiver: no domain: bob"),
        (ELSEWHERE, "outside pickup.accept_domains: sales@elsewhere.example"),
        (b"X-A: " + b"x" * TOP_OCTETS + b"\r\n" + MESSAGE, "the header is longer than 65536 octets"),
    ],
)
def test_what_pickup_would_refuse_is_refused_at_once(shell: Shell, spool: Spool, content: bytes, said: str) -> None:
    """The stage would send it to Badmail, a while later."""
    code, line = shell.failure("pickup", "add", file(shell, content))
    assert (code, line.count("\n")) == (65, 1)
    assert line.startswith(f"pop3connector: {shell.directory}/report.eml: {said}")
    assert put(spool) == []


@pytest.mark.parametrize("content", [b"", MESSAGE.decode().encode("utf-16"), b"From ann Thu Jan  1\n" + MESSAGE])
def test_an_envelope_on_top_does_not_make_a_message_of_what_is_none(shell: Shell, spool: Spool, content: bytes) -> None:
    assert shell.failure("pickup", "add", file(shell, content), "--to", "sales@corp.example")[0] == 65
    assert put(spool) == []


def test_recipients_that_are_given_take_the_place_of_those_that_cannot_be_used(shell: Shell, spool: Spool) -> None:
    shell.lines("pickup", "add", file(shell, b"To: bob\r\n\r\nHello.\r\n"), "--to", "sales@corp.example")
    assert len(put(spool)) == 1


def test_recipients_that_are_given_are_held_to_accept_domains(shell: Shell, spool: Spool) -> None:
    """A file in Pickup does not tell who wrote its first lines: what is not allowed there is told here."""
    code, line = shell.failure("pickup", "add", file(shell), "--to", "victim@elsewhere.example")
    assert (code, put(spool)) == (65, [])
    assert "outside pickup.accept_domains: victim@elsewhere.example" in line


def test_a_badmail_file_that_is_added_replays_its_message(shell: Shell, spool: Spool) -> None:
    queue_id = make_badmail(spool)
    badmail = str(spool.layout.badmail_message(queue_id))
    shell.lines("pickup", "add", badmail, "--sender", "bob@example.org")
    work(spool)
    row = message(spool, queue_id)
    assert row.state is State.REPLAYED
    assert message(spool, str(row.replay_id)).sender == "bob@example.org"


def test_one_that_cannot_be_added_keeps_none_of_the_others_back(shell: Shell, spool: Spool) -> None:
    names = [file(shell, b"", name="a"), "/nowhere/b", str(shell.directory), file(shell, name="c")]
    code, said = shell.failure("pickup", "add", *names)
    assert code == 65
    assert said.splitlines() == [
        f"pop3connector: {names[0]}: the file is empty",
        "pop3connector: /nowhere/b: No such file or directory",
        f"pop3connector: {shell.directory}: Is a directory",
    ]
    assert put(spool) == [MESSAGE]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sender", "no address"),
        ("--sender", "a@b.example\r\nX-Receiver: <c@d.example>"),
        ("--to", "<>"),
        ("--to", "a b@corp.example"),
        ("--null-sender", "--sender", "a@b.example"),
    ],
)
def test_an_envelope_that_is_none_is_wrong_usage_and_adds_nothing(
    shell: Shell, spool: Spool, arguments: tuple[str, ...]
) -> None:
    code, said = shell.failure("pickup", "add", file(shell), *arguments)
    assert (code, said.count("\n"), put(spool)) == (64, 1, [])


def test_a_large_file_is_put_there_whole(shell: Shell, spool: Spool) -> None:
    content = MESSAGE + b"0123456789abcdef\r\n" * (LARGE_OCTETS // 18 + 1)
    shell.lines("pickup", "add", file(shell, content), "--to", "a@corp.example")
    assert put(spool) == [block([("X-Receiver", "<a@corp.example>")]) + content]


def test_a_large_file_for_which_there_is_no_room_leaves_nothing_behind(shell: Shell, spool: Spool) -> None:
    """Standard input may have no end at all."""
    configuration = shell.directory / "pop3connector.toml"
    configuration.write_text(configuration.read_text().replace("[spool]", '[spool]\nmin_free_space = "1000000GB"'))
    code, _ = shell.failure("pickup", "add", file(shell, MESSAGE + b"x" * LARGE_OCTETS))
    assert (code, put(spool)) == (74, [])


def test_pickup_is_rung_and_where_nobody_hears_it_that_is_said(shell: Shell, spool: Spool) -> None:
    assert shell.lines("pickup", "add", file(shell))[1:] == ["no pickup process runs: what was added waits for one"]
    bell = Doorbell(spool, Stage.PICKUP)
    assert shell.lines("pickup", "add", file(shell))[1:] == []
    assert os.read(bell.fileno(), 1) == b"!"
    bell.close()


def test_a_name_cannot_move_the_cursor(shell: Shell, spool: Spool) -> None:
    name = f"{Path(file(shell)).parent}/\x1b[2J\nx\udcff.eml"
    Path(name).write_bytes(b"")
    _, said = shell.failure("pickup", "add", name)
    assert said.rstrip("\n").isprintable()
