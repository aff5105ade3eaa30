"""Questions at a terminal, and where there is none; `test_import` has a person answer them."""

from __future__ import annotations

import pytest

from pipeline.cli.asking import Questions
from stages.secret import Secret


def test_where_there_is_no_terminal_nobody_is_asked() -> None:
    nobody = Questions(is_answered=False)
    assert (nobody.text("to: "), nobody.secret("password: "), nobody.confirms("sure?")) == (None, None, False)


@pytest.mark.parametrize(("typed", "answer"), [("a ", "a"), ("", None), (EOFError(), None)])
def test_an_empty_answer_and_the_end_of_input_are_none(
    monkeypatch: pytest.MonkeyPatch, typed: str | EOFError, answer: str | None
) -> None:
    def type_it(_: str) -> str:
        if isinstance(typed, EOFError):
            raise typed
        return typed

    monkeypatch.setattr("builtins.input", type_it)
    monkeypatch.setattr("getpass.getpass", type_it)
    somebody = Questions(is_answered=True)
    assert somebody.text("to: ") == answer
    # A blank at the end of a password is a part of it.
    assert somebody.secret("password: ") == (Secret(typed) if isinstance(typed, str) and typed else None)


@pytest.mark.parametrize(("typed", "is_yes"), [("y", True), ("YES", True), ("n", False), ("", False), ("yup", False)])
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, typed: str, is_yes: bool) -> None:
    monkeypatch.setattr("builtins.input", lambda _: typed)
    assert Questions(is_answered=True).confirms("sure?") is is_yes
