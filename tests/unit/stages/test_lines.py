"""Lines end in CRLF, have a cap, and cost the same however they arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.errors import ProtocolViolation
from stages.lines import LineBuffer


def all_lines(buffer: LineBuffer) -> list[bytes]:
    lines: list[bytes] = []
    while (line := buffer.next_line()) is not None:
        lines.append(line)
    return lines


def test_lines_come_without_their_ends() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\r\n\r\ntwo\r\nthr")
    assert all_lines(buffer) == [b"one", b"", b"two"]
    assert len(buffer) == len(b"thr")


def test_a_bare_cr_is_part_of_its_line() -> None:
    buffer = LineBuffer()
    buffer.feed(b"a\rb\r\r\n")
    assert buffer.next_line() == b"a\rb\r"


@pytest.mark.parametrize("raw", [b"a\n", b"\n", b"a\n\r\n", b"\r\na\n"])
def test_a_bare_lf_is_a_breach(raw: bytes) -> None:
    """Taken for a line end, it lets a sender forge lines; waited for, it hangs until the deadline."""
    buffer = LineBuffer()
    buffer.feed(raw)
    with pytest.raises(ProtocolViolation, match="bare LF"):
        all_lines(buffer)


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\n"])
def test_a_line_of_exactly_the_cap_passes(end: bytes) -> None:
    buffer = LineBuffer(max_line_octets=5)
    buffer.feed(b"12345" + end)
    assert all_lines(buffer) == ([b"12345"] if end == b"\r\n" else [])


@pytest.mark.parametrize("raw", [b"123456\r\n", b"1234567"])
def test_a_line_beyond_the_cap_is_a_breach(raw: bytes) -> None:
    buffer = LineBuffer(max_line_octets=5)
    buffer.feed(raw)
    with pytest.raises(ProtocolViolation, match="more than 5 octets: 123456"):
        buffer.next_line()


@pytest.mark.parametrize("length", [5, 6, 7, 8])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_what_is_wrong_with_a_line_does_not_depend_on_its_pieces(length: int, end: bytes) -> None:
    """An overlong line in pieces is refused before anybody knows how it ends."""

    def wrong(*pieces: bytes) -> str:
        buffer = LineBuffer(max_line_octets=5)
        try:
            for piece in pieces:
                buffer.feed(piece)
                all_lines(buffer)
        except ProtocolViolation as error:
            return error.what
        return "nothing"

    line = b"x" * length + end
    assert wrong(line) == wrong(*[line[at : at + 1] for at in range(len(line))])


def test_octets_can_be_taken_without_regard_to_lines() -> None:
    buffer = LineBuffer()
    buffer.feed(b"abc\r\nrest\r\n")
    assert buffer.find(b"\r\n") == 3
    assert (buffer.head(2), buffer.tail(2)) == (b"ab", b"\r\n")
    assert buffer.take(5) == b"abc\r\n"
    assert buffer.next_line() == b"rest"


@given(lines=st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b""))), data=st.data())
def test_any_chunking_gives_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(line + b"\r\n" for line in lines)
    at = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    buffer = LineBuffer()
    found: list[bytes] = []
    for start, end in zip([0, *at], [*at, len(wire)], strict=True):
        buffer.feed(wire[start:end])
        found += all_lines(buffer)
    assert found == lines
