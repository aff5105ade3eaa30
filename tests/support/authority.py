"""A certificate authority of the tests, and what it issued: servers to shake hands with, clients to show themselves."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """An authority whose certificate is in `ca_file`; its other files lie beside that."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.ca_file = directory / f"{name}.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server(self, name: str = "127.0.0.1", *, is_expired: bool = False) -> ssl.SSLContext:
        """The TLS side of a server of that name."""
        self.leaf = self._authority.issue_cert(
            name, not_after=datetime.now(UTC) - timedelta(days=1) if is_expired else None
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.leaf.configure_cert(context)
        return context

    def server_that_asks(self, authority: Authority) -> ssl.SSLContext:
        """The same for 127.0.0.1, and it takes only clients that show a certificate of `authority`."""
        context = self.server()
        context.load_verify_locations(authority.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str = "client") -> tuple[Path, Path]:
        """The files of a client's certificate and of its private key."""
        leaf = self._authority.issue_cert(f"{name}.example")
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        return certificate, key

    @property
    def fingerprint(self) -> str:
        """Of the certificate that was issued last for a server, as `tls_fingerprint` has it."""
        der = ssl.PEM_cert_to_DER_cert(self.leaf.cert_chain_pems[0].bytes().decode())
        return "sha256:" + hashlib.sha256(der).hexdigest()
