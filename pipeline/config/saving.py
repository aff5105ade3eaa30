"""Where a configuration is written, and how.

**Invariants:** the file is whole under its name at any time. Its owner stays; so does its mode, but for the right of
others to read passwords.
**Failures:** `OSError`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pipeline.config.crosschecks import holds_password
from pipeline.config.errors import ConfigurationError
from pipeline.config.loading import FILE_NAME, find
from spool.disk import Disk

_OF_THE_SYSTEM = Path("/etc/pop3connector", FILE_NAME)


def place_for(path: Path | None, env: Mapping[str, str]) -> Path:
    """The file that counts, or where it is made where there is none: for root the system's, else the user's own."""
    try:
        return find(path, env)
    except ConfigurationError:
        if os.geteuid() == 0:
            return _OF_THE_SYSTEM
        base = env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or "~", ".config")
        return Path(base, "pop3connector", FILE_NAME).expanduser().absolute()


def save(file: Path, text: str) -> None:
    """Write a configuration; its directory is made where it is missing."""
    # A link to the file stays one.
    real = file.resolve()
    before = real.stat() if real.exists() else None
    real.parent.mkdir(parents=True, exist_ok=True)
    Disk().write_file(real, [text.encode("utf-8")])
    if before is not None:
        if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(real, before.st_uid, before.st_gid)
        mode = before.st_mode & 0o777
        real.chmod(mode & 0o700 if holds_password(tomllib.loads(text)) else mode)
