"""A real Exim on loopback, delivering into Maildir files, all in a directory of its own.

Its configuration, spool and log are private; nothing of an installed Exim's is read or written. It asks no DNS and
delivers nothing to a network. It refuses what its ACLs say: `spam@` at RCPT, `grey@` for now, `SPAM` in a subject at
the end of the content. Its daemon runs as root, its parts as Debian-exim, the user that Debian built into it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import answers, free_port, running, wait_until
from tests.support.real import require, require_root

USER = "Debian-exim"

_CONFIGURATION = """
keep_environment =
exim_path = {program}
primary_hostname = mail.corp.example
spool_directory = {root}/spool
log_file_path = {root}/log/%slog
pid_file_path =
exim_user = {user}
exim_group = {user}
domainlist local_domains = {domains}
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
message_size_limit = {message_size_limit}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
received_headers_max = 1000

begin acl
rcpt:
  deny    local_parts = spam
          message = 550 5.7.1 Refused as spam
  defer   local_parts = grey
          message = 451 4.7.1 Greylisted
  accept  domains = +local_domains
          condition = ${{lookup{{$local_part@$domain}}lsearch{{{root}/mailboxes}}{{yes}}{{no}}}}
  deny    message = 550 5.1.1 No such user
data:
  deny    condition = ${{if match{{$h_subject:}}{{SPAM}}}}
          message = 554 5.7.1 Refused for its content
  accept

begin routers
mailboxes:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  # Looked up, because what the sender wrote must not name a file.
  directory = {root}/mail/${{lookup{{$local_part@$domain}}lsearch{{{root}/mailboxes}}}}
  create_directory
  maildir_format
  user = {user}
  group = {user}
  return_path_add
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exim:
    """A running server that listens at `port`."""

    root: Path
    port: int

    def count(self, recipient: str) -> int:
        """How many messages were delivered to a recipient."""
        folder = self.root / "mail" / recipient / "new"
        return sum(1 for _ in folder.iterdir()) if folder.exists() else 0

    def wait_for(self, recipient: str, messages: int) -> None:
        """Wait until so many are delivered; what is queued after its 250 takes a moment to arrive."""
        wait_until(lambda: self.count(recipient) >= messages, f"{messages} messages delivered, {self.log()[-2000:]}")

    def log(self) -> str:
        """What Exim has logged so far."""
        files = sorted((self.root / "log").glob("*log"))
        return "".join(path.read_text(errors="backslashreplace") for path in files)


@contextmanager
def exim(recipients: Sequence[str], *, message_size_limit: int = 0) -> Iterator[Exim]:
    """Run Exim for these recipients until the block is left. `message_size_limit` is what SIZE tells, 0 for none."""
    program = require("exim4", "exim4-daemon-light")
    require_root("Exim")
    root = Path(tempfile.mkdtemp(prefix="exim-", dir="/tmp"))  # pytest's own are 0700, and Exim is two users
    try:
        root.chmod(0o755)
        owner = pwd.getpwnam(USER)
        for name in ("spool", "log", "mail"):
            (root / name).mkdir()
            os.chown(root / name, owner.pw_uid, owner.pw_gid)
        server = Exim(root=root, port=free_port())
        (root / "mailboxes").write_text("".join(f"{recipient}: {recipient}\n" for recipient in recipients))
        configuration = root / "exim.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                program=program,
                root=root,
                user=USER,
                domains=" : ".join(sorted({recipient.rpartition("@")[2] for recipient in recipients})),
                port=server.port,
                message_size_limit=message_size_limit,
            )
        )
        with running([program, "-C", str(configuration), "-bdf"]) as process:
            wait_until(lambda: answers(server.port) or not process.is_alive(), "Exim listens")
            if not process.is_alive():
                raise RuntimeError(f"Exim did not start:\n{process.output}{server.log()}")
            try:
                yield server
            finally:
                process.stop()
    finally:
        shutil.rmtree(root)
