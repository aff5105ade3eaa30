"""fetchmail, getmail and mpop fetch for a while; then we do, by their own files as they have written them.

User names and UIDLs are those that their lists have trouble with: an `@`, blanks, slashes, what looks like a comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server, StoredMessage
from pipeline.demo.smtp_sink import SmtpSink
from tests.support.connector import Connector, letters, without_our_received
from tests.support.processes import run
from tests.support.real import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

UIDLS = [b"0001abc", b"<1@host>", b"a/b-c", b"x@y", b"100%", b"#hash"]
LATER = [b"0002abc", b"d-e/f"]
USERS = ["sales", "sales@corp.example", "two words"]
HAD = dict(zip(UIDLS, letters(len(UIDLS), prefix="had"), strict=True))
NEW = dict(zip(LATER, letters(len(LATER), prefix="new"), strict=True))


@pytest.fixture
def server() -> Iterator[Pop3Server]:
    server = Pop3Server({user: ("secret", []) for user in USERS})
    for user in USERS:
        put(server, user, HAD)
    with serving(server):
        yield server


def put(server: Pop3Server, user: str, mails: dict[bytes, bytes]) -> None:
    maildrop = server._maildrops[user]
    maildrop.messages += [StoredMessage(uidl=uidl, content=content) for uidl, content in mails.items()]


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    file.chmod(0o600)
    return file


def poll(home: Path, *arguments: str | Path) -> None:
    done = run([str(argument) for argument in arguments], env={"HOME": str(home)})
    assert done.returncode == 0, done.stdout + done.stderr


def change_to_us(directory: Path, server: Pop3Server, kind: str, *, files: Sequence[Path]) -> None:
    """Import the files, let mail come, and fetch twice: what came is delivered once, and nothing else."""
    with serving(SmtpSink()) as sink:
        connector = Connector(directory=directory)
        text = f'[smtp]\nport = {sink.port}\n[spool]\ndirectory = "{connector.spool}"\nmin_free_space = "1MB"\n'
        write(connector.configuration, text)
        names = map(str, files)
        done = connector.run("accounts", "import", kind, *names, "--deliver-to", "sales@corp.example", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(USERS)} accounts were appended" in done.stdout
        for user in USERS:
            put(server, user, NEW)
        for _ in range(2):
            assert connector.drain().returncode == 0
        delivered = [without_our_received(message.content) for message in sink.accepted]
        assert sorted(delivered) == sorted([*NEW.values()] * len(USERS))


def test_after_fetchmail(tmp_path: Path, server: Pop3Server) -> None:
    fetchmail = require("fetchmail", "fetchmail")
    user = 'user "{}" there with password "secret" is root here mda "/bin/cat >/dev/null" keep sslproto ""'
    users = "\n  ".join(user.format(name) for name in USERS)
    rc = write(tmp_path / ".fetchmailrc", f"poll isp via 127.0.0.1 proto pop3 port {server.port} uidl\n  {users}\n")
    poll(tmp_path, fetchmail, "-f", rc)
    change_to_us(tmp_path, server, "fetchmailrc", files=[rc])


def test_after_getmail(tmp_path: Path, server: Pop3Server) -> None:
    getmail = require("getmail", "getmail6")
    files = []
    for number, user in enumerate(USERS):
        text = f"""[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = {server.port}
username = {user}
password = secret
[destination]
type = MDA_external
path = /bin/true
allow_root_commands = true
ignore_stderr = true
[options]
read_all = false
"""
        files.append(write(tmp_path / f"rc{number}", text))
        poll(tmp_path, getmail, "--getmaildir", tmp_path, "--rcfile", files[-1].name)
    change_to_us(tmp_path, server, "getmailrc", files=files)


def test_after_mpop(tmp_path: Path, server: Pop3Server) -> None:
    mpop = require("mpop", "mpop")
    accounts = "".join(f"account a{number}\nuser {user}\n" for number, user in enumerate(USERS))
    defaults = f"defaults\nhost 127.0.0.1\nport {server.port}\nauth user\npassword secret\nkeep on\n"
    delivery = f'delivery mda "/bin/cat >/dev/null"\nuidls_file {tmp_path}/uidls-%U\n'
    rc = write(tmp_path / ".mpoprc", f"{defaults}{delivery}{accounts}")
    poll(tmp_path, mpop, "-C", rc, "--all-accounts")
    change_to_us(tmp_path, server, "mpoprc", files=[rc])
