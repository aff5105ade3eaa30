"""Ask a person at a terminal: questions with the usual answer in brackets, passwords without echo.

**Invariants:** an answer that cannot be used is asked for again, with the reason; Ctrl-C and Ctrl-D end the dialogue
with the terminal as it was, and nothing done.
**Failures:** `CommandFailed` with the exit code of Ctrl-C.
"""

from __future__ import annotations

import getpass
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.cli.output import shown
from pipeline.endings import CommandFailed
from pipeline.exit_codes import ExitCode

# What is wrong with an answer, one line each; none where it can be used.
Check = Callable[[str], Sequence[str]]


def can_ask() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def dialogue(*, given_up: str = "given up: nothing was changed") -> Iterator[None]:
    """Ask within the block; `given_up` is said where the person leaves it.

    Ctrl-C otherwise ends the process where it stands, and would leave a terminal without echo.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, EOFError):
        print()
        raise CommandFailed(ExitCode.INTERRUPTED, given_up) from None
    finally:
        signal.signal(signal.SIGINT, before)


def ask(question: str, *, usual: str | None = None, check: Check = lambda _: ()) -> str:
    """Ask until there is an answer that can be used; nothing but Enter takes what is in the brackets."""
    brackets = "" if usual is None else f" [{shown(usual)}]"
    while True:
        try:
            answer = input(f"{question}{brackets}: ").strip() or usual
        except UnicodeDecodeError:
            print("  that is not UTF-8")
            continue
        if answer is None:
            print("  an answer is needed")
            continue
        problems = check(answer)
        if not problems:
            return answer
        _print_problems(problems)


def ask_password(question: str, *, is_needed: bool, check: Check) -> str:
    """Ask for a password, which is not shown; one that is not needed may be left empty."""
    while True:
        answer = getpass.getpass(f"{question}: ")
        if not answer and not is_needed:
            return answer
        problems = check(answer)
        if not problems:
            return answer
        _print_problems(problems)


def confirm(question: str, *, usual: bool) -> bool:
    """Ask for yes or no."""
    answer = ask(f"{question} (yes or no)", usual="yes" if usual else "no", check=_yes_or_no)
    return answer.lower() in _YES


_YES = ("y", "yes")


def _yes_or_no(answer: str) -> Sequence[str]:
    return () if answer.lower() in (*_YES, "n", "no") else ("answer yes or no",)


def _print_problems(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"  {shown(problem)}")
