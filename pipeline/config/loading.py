"""Find the configuration file, read it, and turn it into `Settings`.

**Invariants:** a file that exists is the one that counts, even if it cannot be read: the search never goes on behind a
broken one. A file with a password in it that group or others can read is refused.
**Failures:** `ConfigurationError` with every problem found, for a missing or unreadable file too.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from pipeline.config.crosschecks import crosscheck, holds_password
from pipeline.config.errors import ConfigurationError
from pipeline.config.models import Configuration
from pipeline.config.problems import Problem, Raw, describe, from_pydantic
from pipeline.config.resolution import resolve
from stages.passwords import READABLE_BY_OTHERS
from stages.settings import Settings

FILE_NAME = "pop3connector.toml"


def find(path: Path | None, env: Mapping[str, str]) -> Path:
    """The file that counts: `path`, else $POP3CONNECTOR_CONFIG, else the first of the usual places that exists."""
    if path is not None:
        return path.absolute()
    if named := env.get("POP3CONNECTOR_CONFIG"):
        return Path(named).absolute()
    places = _usual_places(env)
    for place in places:
        if os.path.lexists(place):
            return place.absolute()
    looked_at = ", ".join(str(place) for place in places)
    raise ConfigurationError((f"there is no configuration file; looked at {looked_at}",))


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """The settings of the file that counts."""
    file = find(path, env)
    content, mode = _read(file)
    return check(content, file, mode=mode)


def check(content: bytes, file: Path, *, mode: int) -> Settings:
    """The settings of a file with this content and mode; `file` names it in problems and is not read."""
    raw = decode(content, file)
    problems = []
    if holds_password(raw) and mode & READABLE_BY_OTHERS:
        problems.append(f"{file} holds a password and is readable by group or others: chmod 600 {file}")
    return _check(raw, file.parent, problems=problems)


def parse(content: bytes, file: Path) -> Settings:
    """The settings of a file with this content; `file` names it in problems and is not read."""
    return _check(decode(content, file), file.absolute().parent, problems=[])


def decode(content: bytes, file: Path) -> Raw:
    """What a file says, not checked; raises ConfigurationError where it is no TOML."""
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError((f"{file}: not UTF-8 (at line {line})",)) from error
    except RecursionError as error:
        raise ConfigurationError((f"{file}: not TOML: arrays or tables are nested too deep",)) from error
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        raise ConfigurationError((f"{file}: not TOML: {error}",)) from error


def problems_of(raw: Raw, base: Path) -> list[Problem]:
    """All that is wrong with a decoded file whose relative paths start at `base`, each with its place."""
    return _judge(raw, base)[1]


def place_for(path: Path | None, env: Mapping[str, str]) -> Path:
    """The file that counts, or where it is made where there is none: for root the system's, else the user's own."""
    try:
        return find(path, env)
    except ConfigurationError:
        places = _usual_places(env)
        # The first is the working directory, which is another one tomorrow.
        return (places[-1] if os.geteuid() == 0 else places[1]).absolute()


def _usual_places(env: Mapping[str, str]) -> list[Path]:
    places = [Path(FILE_NAME)]
    # XDG Base Directory Specification: unset or empty means $HOME/.config.
    if home := env.get("XDG_CONFIG_HOME"):
        places.append(Path(home, "pop3connector", FILE_NAME))
    elif home := env.get("HOME"):
        places.append(Path(home, ".config", "pop3connector", FILE_NAME))
    return [*places, Path("/etc/pop3connector", FILE_NAME)]


def _read(file: Path) -> tuple[bytes, int]:
    """The content and the mode of one and the same file."""
    try:
        with file.open("rb") as stream:
            return stream.read(), os.fstat(stream.fileno()).st_mode
    except OSError as error:
        raise ConfigurationError((f"{file}: {error.strerror}",)) from error


def _check(raw: Raw, base: Path, *, problems: list[str]) -> Settings:
    """The settings of a decoded file, or all its problems behind those found before."""
    configuration, found = _judge(raw, base)
    if configuration is None or found or problems:
        raise ConfigurationError((*problems, *(describe(problem, raw) for problem in found)))
    return resolve(configuration, base)


def _judge(raw: Raw, base: Path) -> tuple[Configuration | None, list[Problem]]:
    found = crosscheck(raw, base)
    try:
        return Configuration.model_validate(raw), found
    except ValidationError as error:
        return None, [*from_pydantic(error), *found]
