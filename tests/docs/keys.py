"""The keys of the configuration as their declarations have them: default as it is written in TOML, meaning."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from pipeline.config import models
from pipeline.config.models import (
    PASSWORD_KEYS,
    SECRETS,
    AccountTable,
    Configuration,
    OAuth2Table,
    WithPassword,
    keys_of_secret,
)

# Of these the page has one list for all tables, or a sentence.
SECRET_KEYS = frozenset({*PASSWORD_KEYS, *(key for name in SECRETS for key in keys_of_secret(name))})
_DEFAULT = re.compile(r" ?Default: (?P<default>.+)\.$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of a table: its default, in Markdown, and what it means."""

    name: str
    default: str
    meaning: str


def tables() -> dict[str, type[BaseModel]]:
    """The tables of the file by their headings."""
    plain = {field.alias or key: field.annotation for key, field in Configuration.model_fields.items()}
    found = {key: model for key, model in plain.items() if isinstance(model, type) and issubclass(model, BaseModel)}
    return {f"[{key}]": model for key, model in found.items()} | {
        "[[accounts]]": AccountTable,
        "[accounts.oauth2]": OAuth2Table,
    }


def keys(model: type[BaseModel]) -> list[Key]:
    """The keys of a table, those of its own first, in order; without the sources of secrets."""
    wanted = PASSWORD_KEYS if model is WithPassword else model.model_fields.keys() - SECRET_KEYS
    declared: dict[str, Key] = {}
    for one in model.__mro__:
        if issubclass(one, BaseModel) and one.__module__ == models.__name__:
            for key in _declared(one):
                declared.setdefault(key.name, key)
    return [key for name, key in declared.items() if name in wanted]


def _declared(model: type[BaseModel]) -> Iterator[Key]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    # A key without a text below it is one all the same: a test finds it.
    for statement, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                said = ""
                match below:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        said = " ".join(text.split())
                dependent = _DEFAULT.search(said)
                default = dependent["default"] if dependent else _default(value)
                yield Key(name=name, default=default, meaning=_DEFAULT.sub("", said))


def _default(value: ast.expr | None) -> str:
    match value:
        case None:
            return "required"
        case ast.Constant(value=None):
            return "not set"
        case ast.Call(func=ast.Attribute(value=ast.Name(id="grammar")), args=[ast.Constant(value=str(written))]):
            return f'`"{written}"`'
        case ast.Call(func=ast.Name(id="timedelta" | "frozenset")) | ast.Tuple(elts=[]):
            return "`false`" if isinstance(value, ast.Call) and value.args else "`[]`"
        case ast.Attribute(value=ast.Name(id=kind), attr=member):
            choices = getattr(importlib.import_module(models.__name__), kind)
            assert issubclass(choices, enum.StrEnum)
            return f'`"{choices[member]}"`'
        case ast.Constant(value=bool(given)):
            return f"`{str(given).lower()}`"
        case ast.Constant(value=int(number)):
            return f"`{number}`"
        case ast.Constant(value=str(text)):
            return f'`"{text}"`'
    raise AssertionError(f"how is this default written? {ast.dump(value)}")
