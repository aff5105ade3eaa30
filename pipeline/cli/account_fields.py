"""What an account is made of, as people type it: options, questions, and the values of the file.

Pure: what was typed in, keys and values of the file out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.account_keys import KEYS
from pipeline.config.editing import Value
from stages.passwords import PasswordCommand, PasswordCredential, PasswordFile, PasswordSource, PasswordVariable
from stages.secret import Secret
from stages.settings import AccountSettings, OAuth2Client

_PATHS = ("ca_file", "password_file")
_LISTS = ("deliver_to", "tls_fingerprint")

Typed = Mapping[str, str | Sequence[str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A key that is asked for, in the words of the dialogue; without a `usual` answer one is needed."""

    key: str
    text: str
    usual: str | None = None


QUESTIONS = (
    Question(key="host", text="POP3 server"),
    Question(key="tls", text="TLS (implicit, starttls or none)", usual="implicit"),
    Question(key="port", text="port"),
    Question(key="auth", text="authentication", usual="auto"),
    Question(key="username", text="user name"),
    Question(key="deliver_to", text="deliver to (addresses, with commas between them)"),
)
NEEDED = ("host", "username", "deliver_to")


def values_of(typed: Typed) -> dict[str, Value | None]:
    """The values of the file for what was typed; None, which takes a key away, for what is empty."""
    return {key: value_of(key, text) for key, text in typed.items() if text is not None}


def value_of(key: str, typed: str | Sequence[str]) -> Value | None:
    """One value; what cannot be read stays text, so that the check of the file says what is wrong with it."""
    if key in _LISTS:
        parts = typed.split(",") if isinstance(typed, str) else typed
        items = [item.strip() for item in parts if item.strip()]
        return (items[0] if len(items) == 1 else items) if items else None
    text = typed if isinstance(typed, str) else " ".join(typed)
    if not text:
        return None
    if key == "port" and text.isascii() and text.isdecimal():
        return int(text[:20])
    if key == "leave_on_server" and text in ("true", "false"):
        return text == "true"
    if key in _PATHS:
        # Typed in the working directory, and read beside the file.
        return str(Path(text).absolute())
    return text


def in_order(values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of a new account as they are written."""
    return {key: values[key] for key in ("name", *KEYS) if key in values}


def usual_port(tls: object) -> str:
    """The port that goes with a kind of TLS."""
    return "995" if tls == "implicit" else "110"


def as_typed(value: object) -> str:
    """A value of the file as somebody would type it."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def secret_of(account: AccountSettings) -> str:
    """Where an account's password or token comes from; never the secret, nor a command, which may hold one."""
    match account.oauth2:
        case None:
            return _source(account.password)
        case OAuth2Client(token_endpoint=endpoint):
            return f"oauth2: tokens from {endpoint}"
        case _:
            return "oauth2: token_command"


def _source(password: PasswordSource | None) -> str:
    match password:
        case Secret() | None:
            return "password: in the configuration"
        case PasswordFile(path):
            return f"password_file: {path}"
        case PasswordVariable(name):
            return f"password_env: {name}"
        case PasswordCommand():
            return "password_command"
        case PasswordCredential(name):
            return f"password_credential: {name}"
