"""Where a password comes from, and reading it when it is needed.

**Invariants:** nothing is read before `read` is called, and nothing is kept: a rotated password is found at the next
login. A password file that group or others can read is refused. A password is the first line of what the source holds,
decoded as UTF-8.
**Failures:** `PasswordUnavailable`, one line that names the source and never its content; the operator must act, the
caller counts it as a failed login. `read` blocks on disk and on the command: call it in a thread.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from spool.safe_text import safe_text
from stages.errors import OperatorMustAct
from stages.secret import Secret

COMMAND_TIMEOUT_SECONDS = 30
READABLE_BY_OTHERS = 0o044


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """A file of ours; its mode is checked."""

    path: Path


@dataclass(frozen=True, slots=True)
class PasswordVariable:
    """An environment variable of the process."""

    name: str


@dataclass(frozen=True, slots=True)
class PasswordCommand:
    """A command for `/bin/sh` that prints the password."""

    command: str


@dataclass(frozen=True, slots=True)
class PasswordCredential:
    """A credential that systemd passed to the service (`LoadCredential=`)."""

    name: str


PasswordSource = Secret | PasswordFile | PasswordVariable | PasswordCommand | PasswordCredential


class PasswordUnavailable(OperatorMustAct):
    """The source of a password is missing, empty, unreadable, or readable by too many."""


def read(source: PasswordSource, env: Mapping[str, str]) -> Secret:
    """The password as it is now; `env` is the environment of the process."""
    match source:
        case Secret():
            return source
        case PasswordFile(path):
            return _first_line(_file_content(path, mode_matters=True), str(path))
        case PasswordVariable(name):
            if name not in env:
                raise PasswordUnavailable(f"the environment variable {name} is not set")
            return _first_line(os.fsencode(env[name]), f"the environment variable {name}")
        case PasswordCommand(command):
            return _first_line(_output(command, env), "the output of the password command")
        case PasswordCredential(name):
            directory = env.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise PasswordUnavailable(
                    f"no credential {name}: CREDENTIALS_DIRECTORY is not set; has the unit LoadCredential={name}:...?"
                )
            # systemd grants the service user access by an ACL, whose mask shows as group bits of the mode.
            path = Path(directory, name)
            return _first_line(_file_content(path, mode_matters=False), str(path))
        case _:
            assert_never(source)


def _file_content(path: Path, *, mode_matters: bool) -> bytes:
    try:
        with path.open("rb") as file:
            if mode_matters and os.fstat(file.fileno()).st_mode & READABLE_BY_OTHERS:
                raise PasswordUnavailable(f"{path} is readable by group or others: chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise PasswordUnavailable(f"{path}: {error.strerror}") from error


def _output(command: str, env: Mapping[str, str]) -> bytes:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise PasswordUnavailable(f"the password command ran longer than {COMMAND_TIMEOUT_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        complaint = safe_text(error.stderr.strip().partition(b"\n")[0])
        said = f": {complaint}" if complaint else ""
        raise PasswordUnavailable(f"the password command ended with exit status {error.returncode}{said}") from error
    except OSError as error:
        raise PasswordUnavailable(f"the password command could not be run: {error.strerror}") from error
    return done.stdout


def _first_line(content: bytes, source: str) -> Secret:
    line = content.partition(b"\n")[0].removesuffix(b"\r")
    if not line:
        raise PasswordUnavailable(f"{source} holds no password")
    try:
        return Secret(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise PasswordUnavailable(f"{source} is not UTF-8") from error
