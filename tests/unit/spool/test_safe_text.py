"""Nothing from outside moves a cursor, ends a line or turns text around."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.safe_text import safe_text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain text", "plain text"),
        ("Grüße, 世界".encode(), "Grüße, 世界"),
        (b"a\r\nb", r"a\x0d\x0ab"),
        (b"\x1b[2J", r"\x1b[2J"),
        (b"\0\t\x7f", r"\x00\x09\x7f"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("\u202eevil".encode(), r"\xe2\x80\xaeevil"),
        ("\u200b\u2028\u00a0".encode(), r"\xe2\x80\x8b\xe2\x80\xa8\xc2\xa0"),
        ("\x9b".encode(), r"\xc2\x9b"),
        ("a\u3164\ufe0f\u034fb".encode(), r"a\xe3\x85\xa4\xef\xb8\x8f\xcd\x8fb"),
        (b"", ""),
    ],
)
def test_only_printable_characters_stay(raw: bytes, shown: str) -> None:
    assert safe_text(raw) == shown


def test_what_does_not_fit_is_cut_and_says_so() -> None:
    assert safe_text(b"0123456789", limit=8) == "01234..."


def test_what_just_fits_is_whole() -> None:
    assert safe_text(b"01234567", limit=8) == "01234567"


def test_an_escape_is_never_cut() -> None:
    """Half an escape reads as something else."""
    assert safe_text(b"abc\x1b" + b"d" * 9, limit=9) == "abc..."


@given(raw=st.binary(max_size=400), limit=st.integers(0, 60))
def test_any_octets_become_one_bounded_printable_line(raw: bytes, limit: int) -> None:
    shown = safe_text(raw, limit=limit)
    assert shown.isprintable()
    assert len(shown) <= limit
