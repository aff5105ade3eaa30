"""Servers that show everything that can be seen of one: what the pages of the documentation are compared with."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from pipeline.demo.background import serving
from pipeline.demo.pop3_server import Pop3Server, Pop3Session, StoredMessage
from pipeline.demo.smtp_sink import SinkRules, SmtpSink
from tests.docs.sample_spool import ACCOUNT
from tests.support.connector import account
from tests.support.processes import free_port
from tests.support.spools import LETTER

NAMES = (ACCOUNT, "other", "odd")
_VERSION_3, _VERSION_6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"


class _Sizes(Pop3Session):
    """The first message is larger than any limit, of the second there is no size."""

    def octets(self, message: StoredMessage) -> int:
        return 10**9 if message is self.listing[1] else super().octets(message)

    def list_(self, argument: str) -> bytes:
        return super().list_(argument).replace(b"\r\n2 ", b"\r\n2 ?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The port of a relay, and accounts: at a server, at none, at one whose certificate nobody can read.

    `disabled` are two that are not polled: the first of those, and one whose maildrop is empty.
    """

    smtp_port: int
    accounts: list[dict[str, object]]
    disabled: list[dict[str, object]]


@contextmanager
def sample_servers(directory: Path) -> Iterator[Servers]:
    """Run the servers; their certificates are written to `directory`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    octets = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    strange = ssl.DER_cert_to_PEM_cert(octets.replace(_VERSION_3, _VERSION_6, 1)).encode()
    drops = {ACCOUNT: ("secret", [LETTER] * 3), "empty": ("secret", [])}
    server = Pop3Server(drops, tls=_tls(directory, certificate.cert_chain_pems[0].bytes(), certificate), session=_Sizes)
    odd = Pop3Server({}, tls=_tls(directory, strange, certificate))
    with serving(server), serving(odd), serving(SmtpSink(SinkRules(size_limit_octets=10**7, smtputf8=False))) as sink:
        tls = {"tls": "starttls", "ca_file": str(directory / "ca.pem")}
        trust = {"tls_fingerprint": f"sha256:{0:064}", "tls_certificate": str(directory / "server.pem")}
        first = account(ACCOUNT, server.port, leave_on_server=True, **tls)
        yield Servers(
            smtp_port=sink.port,
            accounts=[
                first,
                account("other", free_port(), **trust),
                account("odd", odd.port, tls="starttls", leave_on_server="14d"),
            ],
            disabled=[{**first, "enabled": False}, account("empty", server.port, enabled=False, **tls)],
        )


def _tls(directory: Path, chain: bytes, certificate: trustme.LeafCert) -> ssl.SSLContext:
    file = directory / "server.pem"
    file.write_bytes(chain + certificate.private_key_pem.bytes())
    file.chmod(0o600)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context
