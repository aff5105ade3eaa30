"""Ask the person at the terminal; where there is none, nobody is asked and nothing is answered."""

from __future__ import annotations

import getpass
import sys
from contextlib import suppress
from dataclasses import dataclass

from pipeline.cli.dialogue import dialogue
from pipeline.cli.output import shown
from stages.secret import Secret

_GIVEN_UP = "given up: nothing was written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What can be asked. An empty answer, and the end of input, is no answer."""

    is_answered: bool

    @classmethod
    def at_terminal(cls) -> Questions:
        """Questions for who sits at the terminal that this process reads from and writes to."""
        return cls(is_answered=sys.stdin.isatty() and sys.stdout.isatty())

    def text(self, question: str) -> str | None:
        """A line of text."""
        if not self.is_answered:
            return None
        with dialogue(given_up=_GIVEN_UP), suppress(EOFError):
            return input(shown(question)).strip() or None
        return None

    def secret(self, question: str) -> Secret | None:
        """A password, not shown while it is typed."""
        if not self.is_answered:
            return None
        typed = ""
        with dialogue(given_up=_GIVEN_UP), suppress(EOFError):
            typed = getpass.getpass(shown(question))
        return Secret(typed) if typed else None

    def confirms(self, question: str) -> bool:
        """Whether the answer is yes."""
        return (self.text(f"{question} [y/N] ") or "").lower() in ("y", "yes")
