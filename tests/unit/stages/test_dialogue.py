"""What is said on a connection reaches who listens, and nobody else."""

from __future__ import annotations

import itertools

import pytest

from stages.dialogue import LONGEST_LINE, Dialogue, Side, Switch, bounded, silence

Told = list[tuple[int, Side, str]]


def listener() -> tuple[Told, Dialogue, Switch]:
    told: Told = []
    switch = Switch(is_on=True)
    return told, Dialogue(lambda *line: told.append(line), switch=switch, numbers=itertools.count(7)), switch


def test_each_side_and_what_happens_is_told_with_the_number_of_the_connection() -> None:
    told, dialogue, _ = listener()
    dialogue.begin()
    dialogue.note("connecting")
    dialogue.heard("+OK")
    dialogue.said("QUIT")
    dialogue.begin()
    dialogue.said("CAPA")
    assert told == [
        (7, Side.NOBODY, "connecting"),
        (7, Side.PEER, "+OK"),
        (7, Side.WE, "QUIT"),
        (8, Side.WE, "CAPA"),
    ]


def test_a_switch_acts_in_the_middle_of_a_dialogue() -> None:
    told, dialogue, switch = listener()
    dialogue.begin()
    for is_on in (False, True, False):
        switch.is_on = is_on
        dialogue.said(f"{is_on}")
        assert dialogue.is_on is is_on
    assert [line for _, _, line in told] == ["True"]


def test_silence_hears_nothing() -> None:
    dialogue = silence()
    dialogue.begin()
    dialogue.said("QUIT")
    assert not dialogue.is_on


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("+OK ready", "+OK ready"),
        ("+OK \x1b[2J", r"+OK \x1b[2J"),
        ("RCPT TO:<a\u202eb@example.org>", r"RCPT TO:<a\xe2\x80\xaeb@example.org>"),
        (b"\xff".decode(errors="surrogateescape"), r"\xff"),
        ("one\r\nDELE 1", r"one\x0d\x0aDELE 1"),
    ],
)
def test_a_line_that_is_written_down_is_one_printable_line(line: str, written: str) -> None:
    assert bounded(line) == written


def test_a_line_that_is_written_down_has_an_end() -> None:
    assert len(bounded("x" * 100_000)) == LONGEST_LINE
