"""Watch the configuration file of a running process: what is changed is taken over, what is wrong is refused.

Whoever is in charge has one `Watch`: the supervisor, or a stage that has none. It looks every two seconds, and at once
on SIGHUP. Editors replace a file, or write it in several steps; a directory above it may be a symbolic link that is
turned. So a change counts when the file has been the same for a second, and nothing is made of a file that changed
while it was read.

**Invariants:** the settings in force are those of the last file that was right, whole. A refusal is told once for each
change of the file. A file that names a spool elsewhere is refused, and so is an empty one, as a full disk leaves it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import ConfigurationError, load
from pipeline.config.changes import changes
from pipeline.endings import line_of, say
from pipeline.events import ConfigurationRefused, ConfigurationReloaded
from spool.errors import SpoolError
from spool.events import Event
from spool.safe_text import safe_text
from stages.runner import Runtime
from stages.settings import Settings

LOOK_SECONDS = 2.0
SETTLE_SECONDS = 1.0
# A refused file may name another file that is not there yet.
AGAIN_SECONDS = 60.0
TOLD_PROBLEMS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells one state of a file from another without reading it; the times are in nanoseconds."""

    device: int
    inode: int
    mode: int
    octets: int
    modified_at: int
    changed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The file is right: its settings are in force from now on; `changes` says in words what is different."""

    settings: Settings
    changes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The file is wrong: the settings stay as they are."""

    problems: tuple[str, ...]


def stamp_of(file: Path) -> Stamp | None:
    """The stamp of a file, or of what a symbolic link leads to; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return Stamp(
        device=found.st_dev,
        inode=found.st_ino,
        mode=found.st_mode,
        octets=found.st_size,
        modified_at=found.st_mtime_ns,
        changed_at=found.st_ctime_ns,
    )


class Watch:
    """The file, and the settings that are in force. `stamp` and `monotonic` are for tests."""

    def __init__(
        self,
        file: Path,
        settings: Settings,
        *,
        stamp: Callable[[Path], Stamp | None] = stamp_of,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._file = file
        self._stamp_of = stamp
        self._monotonic = monotonic
        # Nothing is known of the file that `settings` came from: it may have changed since. So it is read once more.
        self._stamp: Stamp | None = None
        self._since = monotonic()
        self._is_judged = False
        self._judged_at = self._since
        self._is_asked = False
        self._told: tuple[Stamp | None, tuple[str, ...]] | None = None

    @property
    def seconds(self) -> float:
        """How long until it is time to look."""
        return LOOK_SECONDS if self._is_judged else SETTLE_SECONDS

    def ask(self) -> None:
        """Read the file at the next look, changed or not."""
        self._is_asked = True

    def look(self) -> Accepted | Refused | None:
        """Look at the file, and read it where it is time; None where there is no news. Blocks on the disk."""
        stamp, now = self._stamp_of(self._file), self._monotonic()
        if stamp != self._stamp:
            self._stamp, self._since, self._is_judged = stamp, now, False
        is_asked, self._is_asked = self._is_asked, False
        if not is_asked and not self._is_time(now):
            return None
        if stamp is not None and not stat.S_ISREG(stamp.mode) and not is_asked:
            # A pipe gave its content to who read it first.
            self._is_judged = True
            return None
        settings, problems = self._read(stamp)
        if self._stamp_of(self._file) != stamp:
            return None
        self._is_judged, self._judged_at = True, now
        return self._refuse(problems) if settings is None else self._accept(settings)

    def _is_time(self, now: float) -> bool:
        if not self._is_judged:
            return now - self._since >= SETTLE_SECONDS
        return self._told is not None and now - self._judged_at >= AGAIN_SECONDS

    def _read(self, stamp: Stamp | None) -> tuple[Settings | None, tuple[str, ...]]:
        """The settings of the file, or what is wrong with it."""
        if stamp is not None and not stat.S_ISREG(stamp.mode):
            return None, (f"{self._file} is not a file that can be read again",)
        if stamp is not None and not stamp.octets:
            return None, (f"{self._file} is empty",)
        try:
            settings = load(self._file, os.environ)
        except ConfigurationError as error:
            return None, error.problems
        except Exception as error:  # noqa: BLE001 - quarantine: a file that we stumble over must not end what runs
            return None, (f"{self._file}: {line_of(error)}",)
        directory = settings.spool.directory
        if directory != self.settings.spool.directory:
            return None, (f"spool.directory: {directory} is another spool; stop and start again to change to it",)
        return settings, ()

    def _refuse(self, problems: tuple[str, ...]) -> Refused | None:
        before, self._told = self._told, (self._stamp, problems)
        return None if before == self._told else Refused(problems=problems)

    def _accept(self, settings: Settings) -> Accepted | None:
        before, self.settings = self.settings, settings
        was_refused, self._told = self._told is not None, None
        if settings == before:
            return Accepted(settings=before, changes="nothing, it is as it was") if was_refused else None
        return Accepted(settings=settings, changes=changes(before, settings))


def event_of(news: Accepted | Refused, *, process: str) -> ConfigurationReloaded | ConfigurationRefused:
    """What there is to tell of a look."""
    if isinstance(news, Accepted):
        return ConfigurationReloaded(process=process, changes=news.changes)
    problems = [safe_text(problem.encode("utf-8", "surrogateescape")) for problem in news.problems[:TOLD_PROBLEMS]]
    if len(news.problems) > TOLD_PROBLEMS:
        problems.append(f"and {len(news.problems) - TOLD_PROBLEMS} more, which `pop3connector check` tells")
    return ConfigurationRefused(process=process, problems="; ".join(problems))


def say_refusal(event: Event) -> None:
    """Say a refusal on standard error, where it is said at a start."""
    if isinstance(event, ConfigurationRefused):
        say(event.text)


async def follow_file(watch: Watch, runtime: Runtime) -> None:
    """Renew the settings of a stage that has no supervisor, until cancelled."""
    asked = asyncio.Event()
    with hearing_hangups(asked.set):
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(watch.seconds):
                    await asked.wait()
            if asked.is_set():
                asked.clear()
                watch.ask()
            # In a thread: a large file takes a while, and mail goes on.
            news = await asyncio.to_thread(watch.look)
            if isinstance(news, Accepted):
                runtime.renew(news.settings)
            if news is not None:
                event = event_of(news, process=runtime.tenure.stage)
                say_refusal(event)
                # A spool that takes no event must not keep mail from moving.
                with suppress(SpoolError):
                    await runtime.emit([event])


@contextmanager
def hearing_hangups(hear: Callable[[], None]) -> Iterator[None]:
    """Call `hear` in the event loop at each SIGHUP; for the main thread. Afterwards SIGHUP is what it was before.

    The loop's own handlers leave SIGHUP deadly at their end.
    """
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(hear))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before or signal.SIG_DFL)
