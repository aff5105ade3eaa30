"""The summary as a message: what it says, that nobody answers it, that what a stranger wrote stays on its line."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spool.envelope import Reason
from spool.queue_id import new_queue_id
from spool.rows import Message
from spool.summaries import Digest
from stages.errors import OurBug
from stages.submit.summary import SUBJECT, Letterhead, compose, is_summary
from tests.support.spools import START
from tests.support.submit_stage import claim

SPAM = Reason(stage="submit", code=550, enhanced="5.7.1", text="final dot: refused as spam")
NOW = START + timedelta(hours=5)
HEAD = Letterhead(
    sender="postmaster@corp.example",
    recipient="admin@corp.example",
    gateway="gw.corp.example",
    message_id="1@corp.example",
    written_at=NOW,
)
NASTY = "a\r\n.\r\nQUIT\r\nFrom: x\r\n\r\n\0\x1b[31m\u202e\udcff" + "x" * 2000


def refused(
    *, account: str = "sales", sender: str | None = "alice@example.org", reason: Reason | None = SPAM
) -> Message:
    return replace(claim().message, account=account, sender=sender, reason=reason)


def digest(*messages: Message, new: int | None = None, total: int | None = None) -> Digest:
    ids = tuple(message.queue_id for message in messages)
    return Digest(new=ids[:new], total=len(messages) if total is None else total, messages=messages)


def read(content: bytes) -> EmailMessage:
    found = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def body(content: bytes) -> list[str]:
    text = read(content).get_content()
    assert isinstance(text, str)
    return text.splitlines()


def test_it_is_from_us_to_the_postmaster_and_nobody_answers_it() -> None:
    """RFC 3834 section 5: automatic responders leave it alone."""
    found = read(compose(digest(refused()), HEAD))
    assert dict(found.items()) == {
        "From": "POP3 Connector <postmaster@corp.example>",
        "To": "admin@corp.example",
        "Subject": "Badmail of POP3 Connector at gw.corp.example: 1 new, 1 in all",
        "Date": "Thu, 01 Jan 2026 05:00:00 +0000",
        "Message-ID": "<1@corp.example>",
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }


def test_each_message_has_its_line() -> None:
    first, second = refused(), refused(account="", sender="", reason=None)
    lines = body(compose(digest(first, second, new=1), HEAD))
    assert lines[:4] == [
        "1 message came to Badmail since the last summary, 2 are there in all.",
        "",
        f"{first.queue_id}  sales  5 h  <alice@example.org>  submit: 550 5.7.1 final dot: refused as spam",
        f"{second.queue_id}  -  5 h  <>  -",
    ]


def test_a_reverse_path_that_is_not_known_is_not_shown_as_the_null_one() -> None:
    assert "  -  submit: 550" in "\n".join(body(compose(digest(refused(sender=None)), HEAD)))


def test_it_says_how_many_are_not_shown_and_how_to_go_on() -> None:
    text = "\n".join(body(compose(digest(refused(), total=12), HEAD)))
    assert "and 11 more, in: pop3connector badmail ls" in text
    assert "pop3connector badmail replay ID" in text


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (timedelta(seconds=59), "0 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(hours=48), "2 d"),
        (timedelta(days=400), "400 d"),
        (-timedelta(days=1), "0 min"),
    ],
)
def test_an_age_is_told_in_one_unit(age: timedelta, said: str) -> None:
    message = replace(refused(), fetched_at=NOW - age)
    assert f"  {said}  " in body(compose(digest(message), HEAD))[2]


def test_words_of_other_languages_stay_readable() -> None:
    message = refused(account="Büro", reason=replace(SPAM, text="Empfänger gesperrt"))
    content = compose(digest(message), HEAD)
    assert content.isascii()
    line = body(content)[2]
    assert "Büro" in line
    assert "Empfänger gesperrt" in line


def test_what_strangers_wrote_stays_on_its_line() -> None:
    content = compose(digest(refused(account=NASTY, sender=NASTY, reason=replace(SPAM, text=NASTY))), HEAD)
    assert len(body(content)) == len(body(compose(digest(refused()), HEAD)))
    assert read(content).keys() == read(compose(digest(), HEAD)).keys()


@given(text=st.text(max_size=300))
def test_whatever_is_told_the_message_is_ascii_in_lines_of_ordinary_length(text: str) -> None:
    """RFC 5322 section 2.1.1, RFC 2045 section 6.7; no line end but CRLF, and one at the end."""
    message = refused(account=text, sender=text, reason=replace(SPAM, text=text))
    content = compose(digest(message), HEAD)
    assert content.isascii()
    assert content.endswith(b"\r\n")
    lines = content.split(b"\r\n")
    assert max(map(len, lines)) <= 78
    assert not any(set(line) - set(range(0x20, 0x7F)) for line in lines)
    assert sum(line.startswith(str(message.queue_id).encode()) for line in lines) == 1


@pytest.mark.parametrize("value", ["a@b.example\r\nBcc: c@d.example", "ä@b.example", "a@b.example\0"])
@pytest.mark.parametrize("name", ["sender", "recipient", "gateway", "message_id"])
def test_a_header_value_that_could_carry_another_field_is_never_written(name: str, value: str) -> None:
    """The configuration lets none through; should it ever, nothing is sent."""
    values = {field: getattr(HEAD, field) for field in ("sender", "recipient", "gateway", "message_id")}
    with pytest.raises(OurBug):
        compose(digest(refused()), Letterhead(**{**values, name: value}, written_at=NOW))


def test_it_knows_itself_when_it_comes_back() -> None:
    subject = str(read(compose(digest(refused()), HEAD))["Subject"])
    assert is_summary("", subject)
    assert is_summary(None, f"*** SPAM *** {subject}")


def test_mail_that_somebody_sent_is_no_summary() -> None:
    assert not is_summary("mallory@example.org", SUBJECT)
    assert not is_summary("", "hello")
    assert new_queue_id() not in SUBJECT
