"""A real GNU Mailutils pop3d on loopback: POP3 with STLS, Maildir, all in a directory of its own.

It runs in the foreground as our child, from its own configuration; the site's is not read. It starts as root alone, and
serves the maildrops as `nobody`. It writes an X-UIDL field into each message that it lists: sizes and headers change.
Its greeting offers APOP, for which it has no passwords here.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import trustme

from tests.support.processes import Running, answers, free_port, running, wait_until
from tests.support.real import require, require_root

HOST_NAME = "localhost"
DOMAIN = "pop.example"

# Users of a "virtual domain" need no account on the machine.
_CONFIGURATION = """
mode daemon;
foreground yes;
pidfile {root}/pop3d.pid;
max-children 100;
transcript yes;
server 127.0.0.1:{port} {{
  tls-mode ondemand;
  tls {{
    ssl-certificate-file {root}/server.pem;
    ssl-key-file {root}/server.key;
  }};
}};
auth {{
  authentication virtdomain:generic;
  authorization virtdomain;
}};
virtdomain {{ passwd-dir {root}/domains; }};
mailbox {{ mailbox-type maildir; }};
mandatory-locking {{
  enable yes;
  lock-directory {root}/locks;
}};
tls-file-checks {{ key-file none; cert-file none; ca-file none; }};
logging {{ syslog no; }};
tcp-wrappers {{ enable no; }};
"""
# What pop3d adds to a header, in the line ends of the file.
_ITS_UIDL = re.compile(rb"(?m)^X-UIDL: [0-9a-f]{32}\.\d+\.\d+\r?\n")


@dataclass(slots=True, kw_only=True)
class Mailutils:
    """A running server: `port` for POP3 and STLS, `ca_file` to trust it as `localhost`."""

    root: Path
    port: int
    ca_file: Path
    process: Running
    owner: pwd.struct_passwd
    _serial: count[int] = field(default_factory=lambda: count(1_700_000_000))

    def deliver(self, user: str, message: bytes) -> None:
        """Put a message into the user's Maildir. Its line ends must be bare LFs: pop3d makes CRLFs of them."""
        name = f"{next(self._serial)}.{self.process.pid}.{HOST_NAME}"
        aside = self.maildir(user) / "tmp" / name
        aside.write_bytes(message)
        os.chown(aside, self.owner.pw_uid, self.owner.pw_gid)
        aside.rename(self.maildir(user) / "new" / name)

    def maildrop(self, user: str) -> list[bytes]:
        """What the user's Maildir holds, oldest first, as it was delivered."""
        files = (path for folder in ("new", "cur") for path in (self.maildir(user) / folder).iterdir())
        return [without_its_uidl(path.read_bytes()) for path in sorted(files, key=lambda path: path.name)]

    def maildir(self, user: str) -> Path:
        return self.root / "mail" / user / "INBOX"

    def commands(self, verb: str) -> list[str]:
        """The commands of that name so far, of all sessions, from its transcript."""
        said = re.findall(r"pop3d: C: (.+)", self.process.output)
        return [line for line in said if line.split(" ")[0] == verb]


def without_its_uidl(message: bytes) -> bytes:
    """A message without the field that pop3d wrote into it."""
    return _ITS_UIDL.sub(b"", message, count=1)


@contextmanager
def mailutils(users: Mapping[str, str]) -> Iterator[Mailutils]:
    """Run pop3d with these users (name without its domain to password) and empty maildrops, until the block is left."""
    program = require("pop3d", "mailutils-pop3d")
    require_root("pop3d of GNU Mailutils")
    root = Path(tempfile.mkdtemp(prefix="mailutils-", dir="/tmp"))
    try:
        root.chmod(0o755)
        owner = pwd.getpwnam("nobody")
        port = free_port()
        _write_certificates(root)
        _write_users(root, users, owner=owner)
        configuration = root / "pop3d.conf"
        configuration.write_text(_CONFIGURATION.format(root=root, port=port))
        with running([program, f"--config-file={configuration}"]) as process:
            server = Mailutils(root=root, port=port, ca_file=root / "ca.pem", process=process, owner=owner)
            wait_until(lambda: answers(port) or not process.is_alive(), "pop3d listens")
            if not process.is_alive():
                raise RuntimeError(f"pop3d did not start:\n{process.output}")
            try:
                yield server
            finally:
                process.stop()
    finally:
        shutil.rmtree(root)


def _write_certificates(root: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(root / "ca.pem")
    certificate = authority.issue_cert(HOST_NAME, "127.0.0.1")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(root / "server.pem", append=True)
    certificate.private_key_pem.write_to_path(root / "server.key")


def _write_users(root: Path, users: Mapping[str, str], *, owner: pwd.struct_passwd) -> None:
    (root / "domains").mkdir()
    lines = [
        f"{user}:{_crypt(password)}:{owner.pw_uid}:{owner.pw_gid}::{root}/mail/{user}:/bin/false\n"
        for user, password in users.items()
    ]
    (root / "domains" / DOMAIN).write_text("".join(lines))
    folders = [root / "mail" / user / "INBOX" / kind for user in users for kind in ("tmp", "new", "cur")]
    for folder in (root / "locks", *folders):
        folder.mkdir(parents=True)
    for made in (root / "locks", *(root / "mail").rglob("*")):
        os.chown(made, owner.pw_uid, owner.pw_gid)


def _crypt(password: str) -> str:
    openssl = require("openssl", "openssl")
    done = subprocess.run([openssl, "passwd", "-6", password], capture_output=True, text=True, check=True)
    return done.stdout.strip()
