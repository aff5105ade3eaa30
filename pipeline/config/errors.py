"""The one way in which a configuration fails."""

from __future__ import annotations


class ConfigurationError(Exception):
    """The configuration cannot be used; the operator must mend it.

    `problems` has everything that is wrong, one line each, and never a password.
    """

    exit_code = 78  # sysexits: EX_CONFIG

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
