"""A real Postfix on loopback, delivering into Maildir files, all in a directory of its own.

Its configuration, queue, data and log directories are private; nothing of an installed Postfix's is read or written. It
never delivers to a network and asks no DNS. It leaves header and body as they came, whatever their line lengths, so
that a test may compare octets. Postfix's master needs root.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import free_port, wait_until
from tests.support.real import require, require_root

_MAIN = {
    "compatibility_level": "3.6",
    "queue_directory": "{root}/queue",
    "data_directory": "{root}/data",
    "maillog_file": "{root}/maillog",
    "maillog_file_prefixes": "{root}",
    "multi_instance_wrapper": "",
    "myhostname": "mail.corp.example",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    # Nothing leaves this machine, no name is looked up.
    "default_transport": "error:this server delivers nothing elsewhere",
    "relay_transport": "error:this server delivers nothing elsewhere",
    "smtp_dns_support_level": "disabled",
    "smtpd_peername_lookup": "no",
    "notify_classes": "",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    # Known recipients, each with a Maildir.
    "virtual_mailbox_domains": "{domains}",
    "virtual_mailbox_maps": "texthash:{root}/mailboxes",
    "virtual_mailbox_base": "{root}/mail",
    "virtual_mailbox_limit": "0",
    "virtual_uid_maps": "static:{uid}",
    "virtual_gid_maps": "static:{gid}",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "smtpd_recipient_restrictions": "",
    # The message as it came.
    "local_header_rewrite_clients": "",
    "message_drop_headers": "",
    "enable_original_recipient": "no",
    "line_length_limit": "1048576",
    "header_size_limit": "1048576",
    "hopcount_limit": "1000",
    # Tests do not wait.
    "in_flow_delay": "0",
    "smtpd_error_sleep_time": "0",
}

_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""

# What virtual(8), smtpd(8) and cleanup(8) put on top: the envelope, and a Received field with its folded lines.
_ADDED = re.compile(
    rb"Return-Path: <(?P<reverse_path>[^\n]*)>\nDelivered-To: [^\n]*\nReceived: [^\n]*\n(?:[ \t][^\n]*\n)*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A message in a mailbox: the reverse-path it came with, and its octets as submitted but with LF line ends.

    Where a message does not begin with a header, Postfix has put an empty line before it.
    """

    reverse_path: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Postfix:
    """A running server that listens at `port`."""

    root: Path
    port: int

    def delivered(self, recipient: str) -> list[Delivered]:
        """What was delivered to the recipient, in no particular order."""
        folder = self.root / "mail" / recipient / "new"
        return [_delivered(path.read_bytes()) for path in sorted(folder.iterdir())] if folder.exists() else []

    def count(self) -> int:
        """How many messages were delivered to all recipients."""
        return sum(1 for _ in (self.root / "mail").glob("*/new/*"))

    def wait_for(self, messages: int) -> None:
        """Wait until so many are delivered; what is queued after its 250 takes a moment to arrive."""
        wait_until(lambda: self.count() >= messages, f"{messages} messages delivered, {self.log()[-2000:]}")

    def log(self) -> str:
        """What Postfix has logged so far."""
        return (self.root / "maillog").read_text(errors="backslashreplace")


@contextmanager
def postfix(
    recipients: Sequence[str], *, message_size_limit: int = 0, settings: Mapping[str, str] | None = None
) -> Iterator[Postfix]:
    """Run Postfix for these recipients until the block is left; another in their domains is answered 550.

    `message_size_limit` is what SIZE tells, 0 for none. `settings` are added to main.cf, for limits and restrictions.
    """
    program = require("postfix", "postfix")
    require_root("Postfix")
    root = Path(tempfile.mkdtemp(prefix="postfix-", dir="/tmp"))  # pytest's own are 0700, and Postfix is many users
    try:
        root.chmod(0o755)
        server = Postfix(root=root, port=free_port())
        _prepare(server, recipients, settings={"message_size_limit": str(message_size_limit), **(settings or {})})
        _control(program, server, "start")
        try:
            yield server
        finally:
            _control(program, server, "stop")
    finally:
        shutil.rmtree(root)


def _prepare(server: Postfix, recipients: Sequence[str], *, settings: Mapping[str, str]) -> None:
    root = server.root
    owner = pwd.getpwnam("nobody")  # virtual(8) refuses to deliver as root
    for name, uid in (("queue", 0), ("data", pwd.getpwnam("postfix").pw_uid), ("mail", owner.pw_uid), ("etc", 0)):
        (root / name).mkdir()
        os.chown(root / name, uid, -1)
    facts = {
        "root": str(root),
        "domains": " ".join(sorted({recipient.rpartition("@")[2] for recipient in recipients})),
        "uid": str(owner.pw_uid),
        "gid": str(owner.pw_gid),
    }
    main = {name: value.format(**facts) for name, value in _MAIN.items()} | dict(settings)
    (root / "etc" / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
    (root / "etc" / "master.cf").write_text(_MASTER.format(port=server.port))
    (root / "mailboxes").write_text("".join(f"{recipient} {recipient}/\n" for recipient in recipients))


def _control(program: str, server: Postfix, verb: str) -> None:
    # Files, not pipes: the master inherits them, and a pipe would not end before it does.
    with (server.root / "control.log").open("w+") as output:
        arguments = [program, "-c", str(server.root / "etc"), verb]
        done = subprocess.run(
            arguments, stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False, timeout=60
        )
        if done.returncode != 0:
            output.seek(0)
            log = server.log() if (server.root / "maillog").exists() else ""
            raise RuntimeError(f"postfix {verb} failed:\n{output.read()}{log}")


def _delivered(raw: bytes) -> Delivered:
    added = _ADDED.match(raw)
    assert added is not None, raw[:500]
    return Delivered(reverse_path=added["reverse_path"].decode(), content=raw[added.end() :])
