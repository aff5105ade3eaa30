"""What `--help` says beyond the words of a declaration."""

from __future__ import annotations

NAME = "pop3connector"
# Click keeps the line breaks of a paragraph that begins so.
_AS_IT_STANDS = "\b\n"


def examples(*lines: str) -> str:
    """The end of a command's help: what one may type, each line without the program's name."""
    return f"{_AS_IT_STANDS}Examples:\n" + "\n".join(f"  {NAME} {line}" for line in lines)
