"""Names that people type."""

from __future__ import annotations

import pytest

from pipeline.cli.naming import message_named, perhaps
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode
from spool.opening import Spool
from spool.queue_id import QueueId
from tests.support.shell import Shell
from tests.support.spools import admit, arrival


def test_a_name_that_is_nearly_known_is_suggested() -> None:
    assert perhaps("sales-ips", ["office", "sales-isp"]) == ": 'sales-isp' perhaps?"


def test_nothing_is_suggested_where_nothing_is_like_it() -> None:
    assert perhaps("sales-isp", ["office"]) == ""


def test_a_message_may_be_named_by_the_beginning_of_its_queue_id(spool: Spool) -> None:
    for name in ("01j0e5v3xk7m2q9r4s", "01j0e5v4c8h6t3b0wn"):
        admit(spool, arrival(uidl=name, queue_id=QueueId(name)))
    assert message_named(spool, "01j0e5v3") == "01j0e5v3xk7m2q9r4s"
    assert message_named(spool, "01j0e5v4c8h6t3b0wn") == "01j0e5v4c8h6t3b0wn"


def test_a_queue_id_is_read_as_people_write_it(spool: Spool) -> None:
    """Crockford's base 32: any case, O for 0, I and L for 1."""
    admit(spool, arrival(queue_id=QueueId("01j0e5v3xk7m2q9r4s")))
    assert message_named(spool, " OlJ0E5V3XK7M2Q9R4S ") == "01j0e5v3xk7m2q9r4s"


@pytest.mark.parametrize("text", ["", "01j0e", "../../x", "01j0e5v3xk7m2q9r4s0", "01j0e5v%", "01j0e5\x1b[2J"])
def test_what_cannot_be_a_queue_id_is_wrong_usage(spool: Spool, text: str) -> None:
    with pytest.raises(CommandFailed, match=r"^not a queue id: ") as failed:
        message_named(spool, text)
    assert failed.value.code is ExitCode.USAGE


def test_a_beginning_that_several_have_names_some_of_them(spool: Spool) -> None:
    for number in range(5):
        admit(spool, arrival(uidl=f"u{number}", queue_id=QueueId(f"01j0e5v3xk7m2q9r4{number}")))
    with pytest.raises(CommandFailed) as failed:
        message_named(spool, "01j0e5v3")
    assert (failed.value.code, str(failed.value)) == (
        ExitCode.USAGE,
        "more than one message begins with 01j0e5v3: 01j0e5v3xk7m2q9r40, 01j0e5v3xk7m2q9r41, 01j0e5v3xk7m2q9r42, ...",
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("01j0e5v3xk7m2q9r4t", "01j0e5v3xk7m2q9r4s"),
        ("01j0e5v3kx7m2q9r4s", "01j0e5v3xk7m2q9r4s"),
        ("01j0f5v3xk7m2q9r4s", "01j0e5v3xk7m2q9r4s"),
        ("01j0e5v3xm", "01j0e5v3xk"),
    ],
)
def test_for_a_queue_id_that_is_not_known_a_near_one_is_suggested(spool: Spool, typed: str, meant: str) -> None:
    admit(spool, arrival(queue_id=QueueId("01j0e5v3xk7m2q9r4s")))
    with pytest.raises(CommandFailed) as failed:
        message_named(spool, typed)
    assert (failed.value.code, str(failed.value)) == (ExitCode.DATA, f"no message {typed}: '{meant}' perhaps?")


@pytest.mark.parametrize("words", [("spool", "show"), ("spool", "cat"), ("spool", "rm"), ("badmail", "show")])
def test_every_command_suggests(shell: Shell, spool: Spool, words: tuple[str, str]) -> None:
    admit(spool, arrival(queue_id=QueueId("01j0e5v3xk7m2q9r4s")))
    assert shell.failure(*words, "01j0e5v3xk7m2q9r4t") == (
        65,
        "pop3connector: no message 01j0e5v3xk7m2q9r4t: '01j0e5v3xk7m2q9r4s' perhaps?\n",
    )
