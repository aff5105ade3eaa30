"""Hand changed settings from the supervisor to a stage process that runs.

The supervisor has read and judged the file; what it found travels as it is, so that all stages work by one
configuration, also where the file has changed once more meanwhile. It travels in memory: a file without a name, whose
descriptor goes through a socket pair (unix(7), SCM_RIGHTS), so that the supervisor never waits for a stage to read.

**Invariants:** both ends are of one program, the stage a fork of the supervisor, and nobody else has the sockets: that
is why what comes is believed. The last settings sent are the ones that count.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket

from stages.runner import Runtime
from stages.settings import Settings


def channel() -> tuple[socket.socket, socket.socket]:
    """The two ends: the supervisor's, and the one that a stage inherits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)  # noqa: FBT003 - the library's signature
    theirs.setblocking(False)  # noqa: FBT003 - as above
    return ours, theirs


def send(end: socket.socket, settings: Settings) -> None:
    """Send settings to whoever has the other end; raises OSError where that is gone or takes nothing."""
    with open(os.memfd_create("settings"), "w+b") as memory:
        pickle.dump(settings, memory)
        memory.flush()
        memory.seek(0)
        socket.send_fds(end, [b"."], [memory.fileno()])


def receive(end: socket.socket) -> Settings | None:
    """The next settings; None where the supervisor is gone. Raises BlockingIOError where nothing has come yet."""
    _, descriptors, _, _ = socket.recv_fds(end, 1, 1, socket.MSG_CMSG_CLOEXEC)
    if not descriptors:
        return None
    with open(descriptors[0], "rb") as memory:
        settings = pickle.load(memory)  # noqa: S301 - see the invariants
    if not isinstance(settings, Settings):
        raise TypeError("a supervisor sends settings, and nothing else")
    return settings


async def follow_supervisor(end: socket.socket, runtime: Runtime) -> None:
    """Renew the settings of a stage whenever its supervisor sends some, until cancelled or that is gone."""
    loop, has_come = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(end, has_come.set)
    try:
        while True:
            await has_come.wait()
            has_come.clear()
            try:
                settings = receive(end)
            except BlockingIOError:
                continue
            if settings is None:
                return  # the lifeline ends too, and that ends the stage
            runtime.renew(settings)
    finally:
        loop.remove_reader(end)
