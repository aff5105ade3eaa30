"""Where a password, or another secret, comes from, and reading it when it is needed.

**Invariants:** nothing is read before `read` is called, and nothing is kept: a rotated password is found at the next
login. A password file that group or others can read is refused. A password is the first line of what the source holds,
decoded as UTF-8. A command does not see the variables that other secrets are read from, and nothing that it started
outlives its time.
**Failures:** `PasswordUnavailable`, one line that names the source and never its content; the operator must act, the
caller counts it as a failed login. `read` blocks on disk and on the command: call it in a thread.
"""

from __future__ import annotations

import os
import signal
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
    """A command for `/bin/sh` that prints the password; `hidden` are the variables that it does not see."""

    command: str
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PasswordCredential:
    """A credential that systemd passed to the service (`LoadCredential=`)."""

    name: str


PasswordSource = Secret | PasswordFile | PasswordVariable | PasswordCommand | PasswordCredential


class PasswordUnavailable(OperatorMustAct):
    """The source of a password is missing, empty, unreadable, or readable by too many."""


def read(
    source: PasswordSource,
    env: Mapping[str, str],
    *,
    what: str = "password",
    command_timeout: float = COMMAND_TIMEOUT_SECONDS,
) -> Secret:
    """The password as it is now; `env` is the environment of the process, `what` the word for what is read."""
    match source:
        case Secret():
            return source
        case PasswordFile(path):
            return _first_line(_file_content(path, mode_matters=True), str(path), what=what)
        case PasswordVariable(name):
            if name not in env:
                raise PasswordUnavailable(f"the environment variable {name} is not set")
            return _first_line(os.fsencode(env[name]), f"the environment variable {name}", what=what)
        case PasswordCommand(command, hidden):
            visible = {name: value for name, value in env.items() if name not in hidden}
            output = _output(command, visible, what=what, timeout=command_timeout)
            return _first_line(output, f"the output of the {what} command", what=what)
        case PasswordCredential(name):
            directory = env.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise PasswordUnavailable(
                    f"no credential {name}: CREDENTIALS_DIRECTORY is not set; has the unit LoadCredential={name}:...?"
                )
            # systemd grants the service user access by an ACL, whose mask shows as group bits of the mode.
            path = Path(directory, name)
            return _first_line(_file_content(path, mode_matters=False), str(path), what=what)
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


def _output(command: str, env: Mapping[str, str], *, what: str, timeout: float) -> bytes:
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise PasswordUnavailable(f"the {what} command could not be run: {error.strerror}") from error
    with process:
        try:
            output, complaints = process.communicate(timeout=timeout)
        except BaseException as error:
            # What the shell started holds the pipes open, and would keep us waiting for their end.
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            # Not as the cause: the error holds what was printed.
            raise PasswordUnavailable(f"the {what} command ran longer than {timeout:g} s") from None
    if process.returncode:
        complaint = safe_text(complaints.strip().partition(b"\n")[0])
        said = f": {complaint}" if complaint else ""
        raise PasswordUnavailable(f"the {what} command ended with exit status {process.returncode}{said}")
    return output


def _first_line(content: bytes, source: str, *, what: str) -> Secret:
    line = content.partition(b"\n")[0].removesuffix(b"\r")
    if not line:
        raise PasswordUnavailable(f"{source} holds no {what}")
    try:
        return Secret(line.decode("utf-8"))
    except UnicodeDecodeError:
        # Not as the cause: the error holds the octets.
        raise PasswordUnavailable(f"{source} is not UTF-8") from None
