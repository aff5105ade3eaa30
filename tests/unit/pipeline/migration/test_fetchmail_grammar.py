"""The grammar of a fetchmailrc, as its manual has it; what is refused here, fetchmail refuses too."""

from __future__ import annotations

import pytest

from pipeline.migration.fetchmail_grammar import Record, parsed
from pipeline.migration.theirs import Unreadable


def record(text: str, number: int = 0) -> Record:
    return parsed(text).records[number]


def options(text: str, number: int = 0) -> dict[str, tuple[str, ...] | bool]:
    return {name: option.values or option.is_on for name, option in record(text, number).options.items()}


def test_a_server_without_users_is_one_record() -> None:
    assert options("poll a.example proto pop3 password s keep") == {
        "protocol": ("pop3",),
        "password": ("s",),
        "keep": True,
    }


def test_every_user_of_a_server_is_a_record_with_the_servers_options() -> None:
    text = "poll a.example proto pop3\n user jo pass 12 keep\n user al there is al2 here nokeep"
    assert [one.line for one in parsed(text).records] == [2, 3]
    assert options(text) == {"protocol": ("pop3",), "user": ("jo",), "password": ("12",), "keep": True}
    assert options(text, 1) == {"protocol": ("pop3",), "user": ("al",), "names": ("al2",), "keep": False}


@pytest.mark.parametrize(
    ("text", "user", "names"),
    [
        ("user jo", ("jo",), None),
        ("user jo there is esr here", ("jo",), ("esr",)),
        ("user esr here is jo there", ("jo",), ("esr",)),
        ("user 'j o' is esr", ("j o",), ("esr",)),
        ("user jo to a b='c' *", ("jo",), ("a", "c", "*")),
        ("user jo is a is b", ("jo",), ("a", "b")),
        ("user keep pass user", ("keep",), None),
    ],
)
def test_users_are_named_in_either_order(text: str, user: tuple[str, ...], names: tuple[str, ...] | None) -> None:
    found = options(f"poll a.example {text}")
    assert (found.get("user"), found.get("names")) == (user, names)


def test_defaults_at_the_beginning_fill_in_what_records_leave_out() -> None:
    text = "defaults proto pop3 user jo keep poll a.example pass s poll b.example proto imap user al nokeep"
    assert options(text) == {"protocol": ("pop3",), "user": ("jo",), "keep": True, "password": ("s",)}
    assert options(text, 1) == {"protocol": ("imap",), "user": ("al",), "keep": False}


def test_no_may_stand_by_itself_or_in_one_word() -> None:
    for text in (
        "no dns user jo no keep no rewrite",
        "nodns user jo nokeep norewrite",
        "no\ndns user jo no\nkeep norewrite",
    ):
        assert options(f"poll a.example {text}") == {"dns": False, "user": ("jo",), "keep": False, "rewrite": False}
    assert options("poll a.example no keep pass s") == {"keep": False, "password": ("s",)}


def test_options_that_take_several_end_at_a_keyword() -> None:
    text = "poll a.example aka b.example c.example, envelope 1 X-To user jo smtphost d e/2525 antispam 550 554 keep"
    assert options(text) == {
        "aka": ("b.example", "c.example"),
        "envelope": ("1", "X-To"),
        "user": ("jo",),
        "smtphost": ("d", "e/2525"),
        "antispam": ("550", "554"),
        "keep": True,
    }


def test_settings_stand_between_records() -> None:
    found = parsed('set daemon 300 poll a.example set idfile = "/x" set no bouncemail')
    assert [(one.name, one.values, one.is_on) for one in found.settings] == [
        ("daemon", ("300",), True),
        ("idfile", ("/x",), True),
        ("bouncemail", (), False),
    ]


def test_skip_is_remembered() -> None:
    assert record("skip a.example").is_skipped
    assert not record("poll a.example").is_skipped


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("poll", 1, "a string is wanted where the end of the file stands"),
        ("\n\nuser jo", 3, "'user' is not expected here"),
        ("poll a\n user jo\n proto pop3", 3, "the server's option 'proto' stands behind a user's options"),
        ("poll a\n user jo\n no dns", 3, "the server's option 'dns' stands behind a user's options"),
        ("poll a user b c", 1, "several names behind `user`, and no `here` behind them"),
        ("set daemon soon", 1, "a number is wanted where a string stands"),
        ("set keep", 1, "'keep' is not expected here"),
        ("poll a no pass", 1, "'pass' is not expected here"),
        ("poll a user = b", 1, "a name is wanted where '=' stands"),
        ("poll a pass x user jo", 1, "'user' is not expected here"),
    ],
)
def test_what_fetchmail_would_refuse_is_refused_by_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parsed(text)
    assert (refused.value.line, refused.value.text) == (line, said)


def test_an_error_does_not_repeat_what_may_be_a_part_of_a_password() -> None:
    """An unquoted password ends at a semicolon, and its rest is read as something else."""
    with pytest.raises(Unreadable) as refused:
        parsed("poll a user jo pass top;secret")
    assert "secret" not in str(refused.value)
