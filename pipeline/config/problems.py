"""What is wrong with a configuration, as lines that name their place in the file.

**Invariants:** a problem is one line of printable text and begins with the path of what it is about; a value is quoted
only by `grammar.shown`, and a password never.
"""

from __future__ import annotations

import difflib
import re
import typing
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.grammar import shown
from pipeline.config.models import Configuration

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")

Path = tuple[str | int, ...]
Raw = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something the operator must mend: `path` as TOML keys and positions, and what is wrong there."""

    path: Path
    text: str


def from_pydantic(error: ValidationError) -> list[Problem]:
    """The problems that the models found."""
    return [
        Problem(path=details["loc"], text=_explain(details))
        for details in error.errors(include_url=False, include_input=True, include_context=True)
    ]


def describe(problem: Problem, raw: Raw) -> str:
    """The line for the operator, with the name of the account where it has one."""
    line = f"{_dotted(problem.path)}: {problem.text}"
    match problem.path:
        case ("accounts", int(number), *_):
            name = _account_at(raw, number).get("name")
            return f"{line} (account {shown(name)})" if isinstance(name, str) and name else line
        case _:
            return line


def _account_at(raw: Raw, number: int) -> Raw:
    """The table of an account as it was written; empty where it is no table."""
    accounts = raw.get("accounts")
    account = accounts[number] if isinstance(accounts, list) and number < len(accounts) else None
    return account if isinstance(account, dict) else {}


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _BARE_KEY.fullmatch(step) else shown(step)
            text += f".{key}" if text else key
    return text


def _explain(details: ErrorDetails) -> str:
    """Our words for a pydantic error; those of `grammar` are ours already."""
    context = details.get("ctx", {})
    value = shown(details["input"])
    match details["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "unknown key" + _suggestion(details["loc"])
        case "int_type":
            return f"must be an integer, not {value}"
        case "bool_type":
            return f"must be true or false, not {value}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {value}"
        case "less_than_equal":
            return f"must be at most {context['le']}, not {value}"
        case "model_type" if details["loc"] == ("smtp", "oauth2"):
            return "must be a table: [smtp.oauth2]"
        case "model_type" if details["loc"][-1] == "oauth2":
            return "must be a table: [accounts.oauth2] below its [[accounts]]"
        case "model_type" if details["loc"][0] != "accounts":
            return f"must be a table: [{details['loc'][0]}]"
        case "model_type" | "list_type":
            return "must be an array of tables, each with [[accounts]] above it"
        case "value_error":
            return str(context["error"])
        case _:
            return details["msg"].replace("Input should be", "must be")


def _suggestion(path: Path) -> str:
    known = _keys_of(path[:-1])
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _keys_of(path: Path) -> list[str]:
    """The keys of the table at this path."""
    model: type[BaseModel] = Configuration
    for step in path:
        if isinstance(step, str):
            field = next(field for key, field in model.model_fields.items() if (field.alias or key) == step)
            nested = field.annotation
            inner = typing.get_args(nested)
            model = inner[0] if inner else typing.cast("type[BaseModel]", nested)
    return [field.alias or key for key, field in model.model_fields.items()]
