"""Reasons for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.plain_words import in_plain_words
from spool.envelope import Reason


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            Reason(stage="submit", code=550, enhanced="5.1.1", text="RCPT TO: no such user"),
            "the relay refused a recipient: 550 5.1.1 no such user",
        ),
        (Reason(stage="submit", code=553, text="MAIL FROM: no"), "the relay refused the sender: 553 no"),
        (
            Reason(stage="submit", code=554, enhanced="5.7.1", text="final dot: spam (the message has NUL)"),
            "the relay refused the message: 554 5.7.1 spam (the message has NUL)",
        ),
        (Reason(stage="submit", code=452, text="RCPT TO: full"), "the relay put a recipient off: 452 full"),
        (Reason(stage="submit", code=250, enhanced="2.0.0", text="Ok"), "the relay took it: 250 2.0.0 Ok"),
        (
            Reason(stage="submit", code=450, text="expired after 5 days; at last: RCPT TO: busy"),
            "expired after 5 days; at last the relay put a recipient off: 450 busy",
        ),
        (
            Reason(stage="submit", text="9 octets, larger than the relay's limit (SIZE 8)"),
            "9 octets, larger than the relay's limit (SIZE 8)",
        ),
        (
            Reason(stage="validate", text="no Return-Path, Sender or From"),
            "refused before the relay saw it: no Return-Path, Sender or From",
        ),
        (Reason(stage="fetch", text="9 octets are larger than 8"), "too large: 9 octets are larger than 8"),
        (Reason(stage="spool", text="short"), "damaged: short"),
        (None, None),
    ],
)
def test_a_reason_says_who_refused_what(reason: Reason | None, words: str | None) -> None:
    assert in_plain_words(reason) == words


@given(
    stage=st.sampled_from(["submit", "validate", "pickup", "unknown", ""]),
    code=st.none() | st.integers(200, 599),
    enhanced=st.none() | st.just("5.7.1"),
    text=st.text(max_size=50),
)
def test_what_the_server_said_is_never_left_out(stage: str, code: int | None, enhanced: str | None, text: str) -> None:
    words = in_plain_words(Reason(stage=stage, code=code, enhanced=enhanced, text=f"RCPT TO: {text}"))
    assert words is not None
    assert words.endswith(text)
    assert code is None or f"{code} " in f"{words} "
