"""Values that travel with a message: what they show, they can be read back from."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import Reason, Uidl

CODES = st.integers(min_value=200, max_value=599)
ENHANCED = st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True)
WORDS = st.text(alphabet=st.characters(min_codepoint=0x20), max_size=80)


@given(st.binary(max_size=100))
def test_a_uidl_is_read_back_octet_for_octet(octets: bytes) -> None:
    assert Uidl.parse(Uidl(octets).encoded) == Uidl(octets)


@given(st.binary(max_size=100))
def test_a_uidl_shows_itself_in_printable_ascii_without_blanks(octets: bytes) -> None:
    """It stands in headers, rows and terminals, and a server may send anything."""
    assert re.fullmatch(r"[!-~]*", Uidl(octets).encoded)


@given(st.lists(st.binary(max_size=10), min_size=2, max_size=2, unique=True))
def test_different_uidls_show_themselves_differently(pair: list[bytes]) -> None:
    assert Uidl(pair[0]).encoded != Uidl(pair[1]).encoded


def test_an_ordinary_uidl_shows_itself_as_it_is() -> None:
    """RFC 1939 section 7: one to seventy characters in the range 0x21 to 0x7E."""
    assert Uidl(b"whqtswO00WBw418f9t5JxYwZ").encoded == "whqtswO00WBw418f9t5JxYwZ"


@given(st.text(max_size=100))
def test_decoding_a_uidl_is_total(text: str) -> None:
    assert isinstance(Uidl.parse(text).octets, bytes)


@given(code=CODES, enhanced=ENHANCED, text=WORDS)
def test_a_reason_of_a_server_is_read_back(code: int, enhanced: str, text: str) -> None:
    reason = Reason(stage="submit", code=code, enhanced=enhanced, text=text)
    assert Reason.parse(str(reason)) == reason


@given(text=WORDS.filter(lambda text: not re.match(r"\d", text)))
def test_a_reason_of_ours_is_read_back(text: str) -> None:
    reason = Reason(stage="validate", text=text)
    assert Reason.parse(str(reason)) == reason


@given(code=CODES)
def test_a_bare_code_is_read_back(code: int) -> None:
    assert Reason.parse(str(Reason(stage="submit", code=code))) == Reason(stage="submit", code=code)


@given(st.text(max_size=100))
def test_parsing_a_reason_is_total_and_loses_no_word(line: str) -> None:
    """A Badmail file may have been edited by hand."""
    parsed = Reason.parse(line)
    assert parsed.text in line
    if parsed.stage == "unknown":
        assert parsed.text in (line, line.removeprefix("unknown: "))


def test_a_reason_reads_as_a_line_for_people() -> None:
    assert str(Reason(stage="submit", code=550, enhanced="5.7.1", text="spam")) == "submit: 550 5.7.1 spam"
