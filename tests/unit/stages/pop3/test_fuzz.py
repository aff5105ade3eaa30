"""Any octets at all: no crash, no hang, and the same end however they are cut. `make torture` tries a million more."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.pop3_fuzz import ANSWERED, HEAD_OCTETS, check, cut

# Lines that POP3 turns on, often, and any octets sometimes.
LINES = st.sampled_from(
    [
        *(
            b"+OK\r\n",
            b"-ERR no\r\n",
            b"+OK 1 aa\r\n",
            b"+OK 1 5\r\n",
            b"+ eA==\r\n",
            b".\r\n",
            b"..\r\n",
            b"\r\n",
            b"one\r\n",
        ),
        *(
            b".one\r\n",
            b"1 5\r\n",
            b"2 aa\r\n",
            b"1 5 x\r\n",
            b"\r\n.\r\n",
            b"a\n.\nb\r\n",
            b"\0\r\n",
            b"four\r\n",
            ANSWERED,
        ),
    ]
)
WIRE = st.lists(LINES | st.binary(max_size=5), max_size=25).map(b"".join)
HEADS = st.binary(min_size=HEAD_OCTETS, max_size=HEAD_OCTETS)
ANSWER = b"+OK\r\none\r\n.\r\n"


@settings(max_examples=3000)
@given(head=HEADS, wire=WIRE)
@example(head=b"\0\0\0\1", wire=ANSWERED.join([ANSWER] * 3))
@example(head=b"\0\0\1\1", wire=ANSWER * 3)
@example(head=b"\0\0\5\1", wire=(ANSWER + b"+OK 1 aa\r\n") * 3)
@example(head=b"\0\0\3\1", wire=b"+OK\r\nlonger\r\n.\r\n+OK 1 aa\r\n")
def test_whatever_comes_the_core_and_the_retrieval_keep_their_promises(head: bytes, wire: bytes) -> None:
    check(head + wire)


@settings(max_examples=1000)
@given(data=st.binary(max_size=300))
def test_noise_is_no_exception(data: bytes) -> None:
    check(data)


@given(wire=st.binary(max_size=200), by=st.integers(0, 255))
def test_the_pieces_are_the_whole(wire: bytes, by: int) -> None:
    pieces = list(cut(wire, by=by))
    assert b"".join(pieces) == wire
    assert all(pieces)
    assert by != 1 or len(pieces) == len(wire)
