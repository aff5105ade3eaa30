"""Sizes and lengths of time for people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.spans import in_units, span


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_500, "1.0 MB"),
        (3 * 10**9, "3.0 GB"),
    ],
)
def test_octets_are_said_as_people_say_them(octets: int, words: str) -> None:
    assert in_units(octets) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (10**6, "11 d")],
)
def test_a_length_of_time_is_said_in_one_unit(seconds: int, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words
