"""The tokens of a fetchmailrc."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.migration.fetchmail_tokens import Kind, Tokens, unescaped


def kinds_and_texts(text: str) -> list[tuple[Kind, str]]:
    tokens = Tokens(text)
    found: list[tuple[Kind, str]] = []
    while (token := tokens.take()).kind is not Kind.END:
        found.append((token.kind, token.text))
    return found


def texts(text: str) -> list[str]:
    return [found for _, found in kinds_and_texts(text)]


def test_white_space_punctuation_and_noise_words_are_skipped() -> None:
    assert texts("poll a:\tuser b, with\nproto pop3; and has wants options keep") == [
        *("poll", "a", "user", "b", "proto", "pop3", "keep")
    ]


def test_a_comment_begins_where_a_token_could() -> None:
    assert texts("a # no token\nb#c\n#d\\\n e #") == ["a", "b#c", "e"]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("995", Kind.NUMBER, "995"),
        ("-1", Kind.NUMBER, "-1"),
        ("4u", Kind.WORD, "4u"),
        ('"995"', Kind.STRING, "995"),
        ("'two words'", Kind.STRING, "two words"),
        ('"a\nb"', Kind.STRING, "a\nb"),
        ('"a\\\nb"', Kind.STRING, "ab"),
        ("=", Kind.MAP, "="),
        ("o'neill", Kind.WORD, "o'neill"),
        ('"never closed', Kind.WORD, '"never'),
    ],
)
def test_a_token_is_what_it_looks_like(text: str, kind: Kind, value: str) -> None:
    assert kinds_and_texts(text)[0] == (kind, value)


@pytest.mark.parametrize("name", ["995", "keep", "with", '"keep"'])
def test_where_a_name_is_wanted_whatever_comes_is_one(name: str) -> None:
    token = Tokens(f" {name} ").take_name()
    assert (token.kind, token.text) == (Kind.STRING, name.strip('"'))


@pytest.mark.parametrize(
    ("escaped", "meant"),
    [
        (r"\n\t\b\r", "\n\t\b\r"),
        (r"\65\065\x41\X41", "A5AA"),
        (r"\x414\0659", "A459"),
        (r"\"\q\\", '"q\\'),
        ("\\233", "\xe9"),
        ("end\\", "end"),
        ("\\999", chr(999 % 256)),
    ],
)
def test_escapes_are_those_of_the_manual(escaped: str, meant: str) -> None:
    """Decimal without a leading zero, octal with one, of three digits with it: not as in C."""
    assert unescaped(escaped) == meant


def test_a_token_knows_its_line() -> None:
    tokens = Tokens('a\n\n# c\n"b\nb" c\\\n\nd')
    assert [tokens.take().line for _ in range(4)] == [1, 4, 5, 7]


@given(st.text(alphabet="ab1 \t\n\"'#\\=;:,-", max_size=200))
def test_any_text_has_an_end(text: str) -> None:
    kinds_and_texts(text)
