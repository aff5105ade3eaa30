"""A real Dovecot 2.3 on loopback: POP3 with STLS, POP3 with implicit TLS, Maildir, all in a directory of its own.

It runs in the foreground as our child, from its own configuration; nothing of an installed Dovecot's is read or
written. Started as root it serves the maildrops as `nobody`, because Dovecot serves no mail as root; else as the user
who runs the tests.
"""

from __future__ import annotations

import grp
import os
import pwd
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
from tests.support.real import require

HOST_NAME = "localhost"

_CONFIGURATION = """
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
protocols = {protocols}
listen = 127.0.0.1
ssl = yes
ssl_cert = <{root}/server.pem
ssl_key = <{root}/server.pem
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
mail_location = maildir:{root}/mail/%u
mail_fsync = never
first_valid_uid = 0
first_valid_gid = 0
mail_max_userip_connections = 100
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
passdb {{
  driver = passwd-file
  mechanisms = {password_mechanisms}
  args = scheme=PLAIN {root}/passwd
}}
{oauth2}
{userdb}
service pop3-login {{
  inet_listener pop3 {{
    port = {port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 1
{chroot}}}
service pop3 {{
  process_limit = 200
}}
service auth {{
  # Whoever asks in the protocol of its SASL: Postfix.
  unix_listener {root}/sasl {{
    mode = 0666
  }}
}}
service anvil {{
  # The penalty for failed logins would make tests of failed logins wait.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
{chroot}}}
service stats {{
{chroot}}}
{lmtp}"""

# Whoever has logged in has a maildrop.
_OF_LOGINS = """
userdb {{
  driver = static
  args = uid={owner_uid} gid={owner_gid} home={root}/mail/%u
}}
"""
# Whoever mail is for has one if the file names him.
_OF_THE_FILE = """
userdb {{
  driver = passwd-file
  args = username_format=%n {root}/passwd
}}
"""
_LMTP = """
protocol lmtp {{
  mail_location = maildir:{root}/mail/%n
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
  unix_listener {root}/lmtp {{
    mode = 0666
  }}
}}
"""

_PASSWORD_MECHANISMS = "plain login apop cram-md5 scram-sha-1 scram-sha-256"
_TOKEN_MECHANISMS = "xoauth2 oauthbearer"
_OAUTH2 = """
passdb {{
  driver = oauth2
  mechanisms = {mechanisms}
  args = {root}/oauth2.conf
}}
"""
_OAUTH2_SETTINGS = """
introspection_mode = post
introspection_url = http://127.0.0.1:{port}/introspect
username_attribute = username
active_attribute = active
active_value = true
"""


@dataclass(slots=True, kw_only=True)
class Dovecot:
    """A running server: `port` for POP3 and STLS, `tls_port` for implicit TLS, `ca_file` to trust it as `localhost`."""

    root: Path
    port: int
    tls_port: int
    ca_file: Path
    lmtp_port: int
    process: Running
    owner_uid: int
    owner_gid: int
    _serial: count[int] = field(default_factory=lambda: count(1_700_000_000))

    def deliver(self, user: str, message: bytes) -> None:
        """Put a message into the user's Maildir; Dovecot lists messages in the order of delivery."""
        name = f"{next(self._serial)}.{self.process.pid}.{HOST_NAME}"  # Dovecot sorts by the number in front
        aside = self.maildir(user) / "tmp" / name
        aside.write_bytes(message)
        os.chown(aside, self.owner_uid, self.owner_gid)
        aside.rename(self.maildir(user) / "new" / name)

    def maildrop(self, user: str) -> list[bytes]:
        """What the user's Maildir holds, oldest first."""
        files = (path for folder in ("new", "cur") for path in (self.maildir(user) / folder).iterdir())
        return [path.read_bytes() for path in sorted(files, key=lambda path: path.name)]

    def count(self, user: str) -> int:
        """How many messages the user's Maildir holds."""
        return sum(1 for folder in ("new", "cur") for _ in (self.maildir(user) / folder).iterdir())

    def maildir(self, user: str) -> Path:
        return self.root / "mail" / user

    @property
    def sasl_socket(self) -> Path:
        """Where another server asks it to judge logins."""
        return self.root / "sasl"

    @property
    def certificate(self) -> Path:
        """Its key and certificate, for `localhost`, in one file."""
        return self.root / "server.pem"

    @property
    def lmtp_socket(self) -> Path:
        """Where LMTP is spoken over a UNIX socket, if at all."""
        return self.root / "lmtp"

    def log(self) -> str:
        """What Dovecot has logged so far."""
        path = self.root / "dovecot.log"
        return path.read_text(errors="backslashreplace") if path.exists() else ""


@contextmanager
def dovecot(
    users: Mapping[str, str], *, introspection_port: int | None = None, lmtp: bool = False
) -> Iterator[Dovecot]:
    """Run Dovecot with these users (name to password) and empty maildrops, until the block is left.

    A password may be given as it is stored, with its `{SCHEME}` in front. With an introspection server there are
    logins by token too. With `lmtp` it takes mail for these users, whatever their domain.
    """
    program = require("dovecot", "dovecot-pop3d")
    if lmtp:
        require("lmtp", "dovecot-lmtpd", folders=("/usr/lib/dovecot",))
    _refuse_another_than_2_3(program)
    # Not below pytest's directories: these are 0700, their paths too long for Dovecot's sockets.
    root = Path(tempfile.mkdtemp(prefix="dovecot-", dir="/tmp"))
    try:
        root.chmod(0o755)
        owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        port, tls_port = free_port(), free_port()
        _write_certificates(root)
        _write_users(root, users, owner=owner)
        configuration = root / "dovecot.conf"
        facts = _identities(owner) | {"root": root, "port": port, "tls_port": tls_port}
        facts |= _logins(root, introspection_port)
        lmtp_port = free_port()
        facts |= {
            "protocols": "pop3 lmtp" if lmtp else "pop3",
            "lmtp": _LMTP.format(root=root, port=lmtp_port) if lmtp else "",
            "userdb": (_OF_THE_FILE if lmtp else _OF_LOGINS).format(**facts),
        }
        configuration.write_text(_CONFIGURATION.format(**facts))
        with running([program, "-F", "-c", str(configuration)]) as process:
            server = Dovecot(
                root=root,
                port=port,
                tls_port=tls_port,
                ca_file=root / "ca.pem",
                lmtp_port=lmtp_port,
                process=process,
                owner_uid=owner.pw_uid,
                owner_gid=owner.pw_gid,
            )
            _wait_for_ports(server)
            try:
                yield server
            finally:
                process.stop()
    finally:
        shutil.rmtree(root)


def _refuse_another_than_2_3(program: str) -> None:
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("2.3."):
        raise RuntimeError(f"the tests' configuration is written for Dovecot 2.3, this is {version.strip()}")


def _write_certificates(root: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(root / "ca.pem")
    certificate = authority.issue_cert(HOST_NAME, "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(root / "server.pem")
    (root / "server.pem").chmod(0o600)


def _write_users(root: Path, users: Mapping[str, str], *, owner: pwd.struct_passwd) -> None:
    stored = {
        user: password if password.startswith("{") else f"{{PLAIN}}{password}" for user, password in users.items()
    }
    place = f"{owner.pw_uid}:{owner.pw_gid}::{root}/mail"
    (root / "passwd").write_text("".join(f"{name}:{password}:{place}/{name}::\n" for name, password in stored.items()))
    (root / "mail").mkdir()
    for user in users:
        for folder in ("", "tmp", "new", "cur"):
            path = root / "mail" / user / folder
            path.mkdir()
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _logins(root: Path, introspection_port: int | None) -> dict[str, object]:
    if introspection_port is None:
        return {"mechanisms": _PASSWORD_MECHANISMS, "password_mechanisms": _PASSWORD_MECHANISMS, "oauth2": ""}
    (root / "oauth2.conf").write_text(_OAUTH2_SETTINGS.format(port=introspection_port))
    return {
        "mechanisms": f"{_PASSWORD_MECHANISMS} {_TOKEN_MECHANISMS}",
        "password_mechanisms": _PASSWORD_MECHANISMS,
        "oauth2": _OAUTH2.format(mechanisms=_TOKEN_MECHANISMS, root=root),
    }


def _identities(owner: pwd.struct_passwd) -> dict[str, object]:
    is_root = os.geteuid() == 0
    group = grp.getgrgid(owner.pw_gid).gr_name
    return {
        "owner_uid": owner.pw_uid,
        "owner_gid": owner.pw_gid,
        "internal_user": "dovecot" if is_root else owner.pw_name,
        "internal_group": "dovecot" if is_root else group,
        "login_user": "dovenull" if is_root else owner.pw_name,
        "chroot": "" if is_root else "  chroot =\n",
    }


def _wait_for_ports(server: Dovecot) -> None:
    def stands_or_fell() -> bool:
        return not server.process.is_alive() or (answers(server.port) and answers(server.tls_port))

    wait_until(stands_or_fell, "Dovecot listens")
    if not server.process.is_alive():
        raise RuntimeError(f"Dovecot did not start:\n{server.process.output}{server.log()}")
