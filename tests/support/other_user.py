"""Be another user for the length of one call: in a child process, for root alone."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = pwd.getpwnam("nobody")


@contextmanager
def public_directory() -> Iterator[Path]:
    """A temporary directory that any user may enter: pytest's own are 0700."""
    with tempfile.TemporaryDirectory(prefix="pop3connector-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(call: Callable[[], str]) -> str:
    """What a call answers in a process of the user `nobody`; its error, where it raises one."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reader)
            os.setgroups([])
            os.setresgid(NOBODY.pw_gid, NOBODY.pw_gid, NOBODY.pw_gid)
            os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)
            answer = call()
        except BaseException as error:  # noqa: BLE001 - the parent is to see it
            answer = repr(error)
        os.write(writer, answer.encode("utf-8", "surrogateescape"))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read().decode("utf-8", "surrogateescape")
    os.waitpid(pid, 0)
    return answer
