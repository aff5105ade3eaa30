"""An account as it would stand in the configuration, checked with all that is there before anything is written.

**Invariants:** a value is judged in the company of the whole file, so that a mailbox that another account has is seen
when its user name is typed; what is still missing is no problem of what was typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.account_fields import NEEDED
from pipeline.cli.account_keys import PASSWORDS
from pipeline.config import ConfigurationError
from pipeline.config.editing import Value
from pipeline.config.loading import problems_of
from pipeline.config.models import PASSWORD_KEYS
from pipeline.config.problems import Problem, Raw, describe

Changes = Mapping[str, Value | None]


@dataclass(slots=True, kw_only=True)
class Draft:
    """The `number`-th account of a file that was read as `raw`, whose relative paths start at `base`.

    `present` is what stands there now, nothing for a new account; `values` what is to stand there.
    """

    raw: Raw
    base: Path
    number: int
    present: Mapping[str, Value]
    values: dict[str, Value]

    @classmethod
    def new(cls, raw: Raw, base: Path) -> Draft:
        """An account behind those that are there."""
        return cls(raw=raw, base=base, number=len(_accounts(raw)), present={}, values={})

    @classmethod
    def of(cls, raw: Raw, base: Path, *, name: str) -> Draft:
        """The account of that name, which is there."""
        accounts = _accounts(raw)
        number = next(number for number, account in enumerate(accounts) if account["name"] == name)
        return cls(raw=raw, base=base, number=number, present=accounts[number], values=dict(accounts[number]))

    def take(self, changes: Changes) -> None:
        """Take what was typed; raises ConfigurationError with all that is wrong with it."""
        self.values = _given({**self.values, **changes})
        raw = self._as_raw(self.values)
        wrong = self._wrong(self.values, changes)
        if wrong:
            raise ConfigurationError(tuple(describe(problem, raw) for problem in wrong))

    def objections(self, key: str, value: Value | None) -> Sequence[str]:
        """What is wrong with a value for a key."""
        return [problem.text for problem in self._wrong(_given({**self.values, key: value}), {key: value})]

    def objections_to_password(self, text: str) -> Sequence[str]:
        """What is wrong with a password, wherever it is going to stand."""
        values = {key: value for key, value in self.values.items() if key not in PASSWORD_KEYS}
        return [problem.text for problem in self._wrong({**values, "password": text}, {"password": text})]

    def has_password_source(self) -> bool:
        """Whether it is known where the password comes from."""
        return any(key in self.values for key in (*PASSWORD_KEYS, "oauth2"))

    def missing(self) -> Sequence[str]:
        """What is needed still, but for a password, as options."""
        name = [] if "name" in self.values else ["NAME"]
        return [*name, *(f"--{key.replace('_', '-')}" for key in NEEDED if key not in self.values)]

    def changes(self) -> Changes:
        """What differs from what stands there now."""
        keys = [*self.present, *(key for key in self.values if key not in self.present)]
        return {key: self.values.get(key) for key in keys if not _same(self.present.get(key), self.values.get(key))}

    def _wrong(self, values: Mapping[str, Value], changes: Changes) -> Sequence[Problem]:
        """What the changes made wrong: at their keys, or at another account, whose name or mailbox they would take."""
        places = [("accounts", self.number, key) for key in changes]
        # `password` is where it shows that there are several sources.
        places += [("accounts", self.number, "password")] if any(key in changes for key in PASSWORDS) else []
        return [
            problem
            for problem in problems_of(self._as_raw(values), self.base)
            if problem.path[:3] in places or problem.path[:2] != ("accounts", self.number)
        ]

    def _as_raw(self, values: Mapping[str, Value]) -> Raw:
        others = _accounts(self.raw)
        return {**self.raw, "accounts": [*others[: self.number], dict(values), *others[self.number + 1 :]]}


def _accounts(raw: Raw) -> list[dict[str, Value]]:
    accounts = raw.get("accounts", [])
    return accounts if isinstance(accounts, list) else []


def _given(values: Changes) -> dict[str, Value]:
    return {key: value for key, value in values.items() if value is not None}


def _same(before: Value | None, after: Value | None) -> bool:
    """Whether two values mean the same: one address may stand in a list or by itself."""
    if isinstance(before, list) != isinstance(after, list):
        before, after = ([value] if isinstance(value, str) else value for value in (before, after))
    return before == after and isinstance(before, bool) == isinstance(after, bool)
