"""Secrets that can be found again wherever they have got to, in any form in which they are sent."""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote_plus


def canary(name: str) -> str:
    """A secret of that name, like no other text; with a character that forms and URLs encode."""
    return f"Canary.{name}+{secrets.token_hex(8)}"


def forms(secret: str) -> Iterator[bytes]:
    """In clear, in a form, and what of base64 it alone decides, at each of the three places where it may begin."""
    value = secret.encode()
    yield value
    yield quote_plus(value).encode()
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(bytes(before) + value)
            yield encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]


class Search:
    """Looks for canaries, and keeps what it found as "name in place"."""

    def __init__(self, canaries: Mapping[str, str]) -> None:
        self._patterns = {
            name: re.compile(b"|".join(re.escape(form) for form in sorted(set(forms(secret)))), re.IGNORECASE)
            for name, secret in canaries.items()
        }
        self.found: set[str] = set()

    def look_at(self, place: str, content: bytes, *, but: Iterable[str] = ()) -> None:
        """Look at octets; the canaries in `but` may be there."""
        self.found |= {
            f"{name} in {place}"
            for name, pattern in self._patterns.items()
            if name not in but and pattern.search(content)
        }

    def look_below(self, directory: Path, *, leave_out: Iterable[str] = ()) -> int:
        """Look at every file there but those in the named folders; answers how many that were."""
        files = [path for path in directory.rglob("*") if path.is_file()]
        looked_at = [path for path in files if path.relative_to(directory).parts[0] not in leave_out]
        for path in looked_at:
            self.look_at(str(path.relative_to(directory)), path.read_bytes())
        return len(looked_at)

    @contextmanager
    def watching(self, *, allowed_in_ours: Iterable[str]) -> Iterator[set[bytes]]:
        """Look at command line and environment of all that descends from this process, while the block lasts.

        Our own processes may have in their environment what the operator has put there (`allowed_in_ours`). Yields the
        command lines that were seen.
        """
        seen: set[bytes] = set()
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.02):
                for pid in _descendants(os.getpid()):
                    with suppress(OSError):
                        command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
                        environment = Path(f"/proc/{pid}/environ").read_bytes()
                        is_ours = command_line.startswith(sys.executable.encode())
                        seen.add(command_line)
                        self.look_at(f"the command line {command_line!r}", command_line)
                        but = allowed_in_ours if is_ours else ()
                        self.look_at(f"the environment of {command_line!r}", environment, but=but)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield seen
        finally:
            over.set()
            watcher.join()


def _descendants(ancestor: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                # proc(5): the name stands in parentheses and may hold anything.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}
