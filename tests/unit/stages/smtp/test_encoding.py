"""What follows 354 ends once, and only where we end it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.smtp.encoding import DataEncoder, encode_message

NASTY = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\x00", b"\xff", b"MAIL FROM:<>"])).map(
    b"".join
)
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\r\n\r", b"\n\r\n"]
SMUGGLED = [
    b"text" + one + b"." + other + b"MAIL FROM:<x>\r\n" for one, other in itertools.product(LINE_ENDS, repeat=2)
]


def encode_in_chunks(chunks: list[bytes]) -> bytes:
    encoder = DataEncoder()
    return b"".join([*(encoder.feed(chunk) for chunk in chunks), encoder.finish()])


def read_as_a_relay_does(wire: bytes) -> bytes:
    """Undo the encoding line by line, as RFC 5321 section 4.5.2 has the receiver do; all of ``wire`` must be used."""
    lines = wire.split(b"\r\n")
    end = lines.index(b".")
    assert lines[end + 1 :] == [b""]
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:end])


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r", b"a\r\n.\r\n"),
        (b"a\n", b"a\r\n.\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\r\n.\r\nb", b"a\r\n..\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n.\r\n"),
        (b"\n\r", b"\r\n\r\n.\r\n"),
        (b"a.b\r\nc.\r\n", b"a.b\r\nc.\r\n.\r\n"),
    ],
)
def test_each_kind_of_line_end_and_dot_has_one_encoding(message: bytes, wire: bytes) -> None:
    assert encode_message(message) == wire


def test_a_message_that_needs_no_change_is_sent_as_it_is() -> None:
    """A valid DKIM signature stays valid."""
    message = b"Subject: x\r\n\r\n8-bit \xe4 and NUL \x00 and . inside\r\n"
    assert encode_message(message) == message + b".\r\n"


@given(NASTY, st.data())
def test_any_chunking_gives_the_same_octets(message: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    chunks = [message[start:end] for start, end in itertools.pairwise([0, *cuts, len(message)])]
    assert encode_in_chunks(chunks) == encode_message(message)


@given(NASTY)
def test_octet_by_octet_gives_the_same_octets(message: bytes) -> None:
    assert encode_in_chunks([bytes([octet]) for octet in message]) == encode_message(message)


@given(NASTY)
def test_no_bare_cr_and_no_bare_lf_leaves(message: bytes) -> None:
    """RFC 5321 section 2.3.8."""
    without_crlf = encode_message(message).replace(b"\r\n", b"")
    assert b"\r" not in without_crlf
    assert b"\n" not in without_crlf


@given(NASTY)
def test_a_relay_reads_the_message_with_its_line_ends_mended(message: bytes) -> None:
    mended = b"".join(line + b"\r\n" for line in message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    if message == b"" or message.endswith((b"\r", b"\n")):
        mended = mended[:-2]
    assert read_as_a_relay_does(encode_message(message)) == mended


@pytest.mark.parametrize("message", SMUGGLED)
def test_no_sequence_of_the_senders_ends_the_message(message: bytes) -> None:
    """49 ways to write line end, dot, line end; each of them ended the message on some server or other."""
    assert encode_message(message).index(b"\r\n.\r\n") == len(encode_message(message)) - len(b"\r\n.\r\n")


@pytest.mark.parametrize("message", SMUGGLED)
def test_no_sequence_of_the_senders_ends_the_message_when_cut_anywhere(message: bytes) -> None:
    for cut in range(len(message)):
        wire = encode_in_chunks([message[:cut], message[cut:]])
        assert wire.index(b"\r\n.\r\n") == len(wire) - len(b"\r\n.\r\n")
