"""Trust, by real handshakes on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from stages.errors import NetworkError
from stages.stream import Stream, TlsSettings
from stages.tls import TlsFailed, tls_context
from stages.trust import TlsVersion, Trust
from tests.support.authority import Authority

PATIENCE = 5.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def greeter(tls: ssl.SSLContext) -> Iterator[int]:
    """A server that says welcome to one client, in a thread: asyncio's own would not send its alerts."""

    def greet(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as client, tls.wrap_socket(client, server_side=True) as channel:
            channel.sendall(b"welcome")
            channel.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = Thread(target=greet, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()


def shake_hands(tls: ssl.SSLContext, trust: Trust) -> bytes:
    """Connect by implicit TLS and read what the server says."""

    async def talk(port: int) -> bytes:
        settings = TlsSettings(server_name="127.0.0.1", trust=trust)
        stream = await Stream.connect("127.0.0.1", port, tls=settings, timeout=PATIENCE)
        try:
            assert stream.is_tls
            return await stream.read(timeout=PATIENCE)
        finally:
            await stream.close()

    with greeter(tls) as port:
        return asyncio.run(talk(port))


def refusal(tls: ssl.SSLContext, trust: Trust) -> str:
    with pytest.raises(NetworkError) as error:
        shake_hands(tls, trust)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_certificate_of_the_ca_file_is_trusted(authority: Authority) -> None:
    assert shake_hands(authority.server(), Trust(ca_file=authority.ca_file)) == b"welcome"


def test_a_certificate_for_another_name_is_not(authority: Authority) -> None:
    said = refusal(authority.server("pop.example.org"), Trust(ca_file=authority.ca_file))
    assert "the certificate is not for 127.0.0.1" in said


def test_a_certificate_of_an_unknown_ca_is_not(authority: Authority) -> None:
    said = refusal(authority.server(), Trust())
    assert "no known CA" in said
    assert said.endswith("set ca_file or tls_fingerprint")


def test_an_expired_certificate_is_not(authority: Authority) -> None:
    said = refusal(authority.server(is_expired=True), Trust(ca_file=authority.ca_file))
    assert "out of date: certificate has expired" in said


def test_a_fingerprint_replaces_ca_and_name(authority: Authority) -> None:
    tls = authority.server("pop.example.org")
    spelled = "sha256:" + authority.fingerprint.removeprefix("sha256:").upper()
    assert shake_hands(tls, Trust(fingerprints=("sha256:" + "0" * 64, spelled))) == b"welcome"


def test_another_fingerprint_is_refused_and_shown(authority: Authority) -> None:
    """The operator compares it with what the provider publishes."""
    tls = authority.server()
    assert authority.fingerprint in refusal(tls, Trust(ca_file=authority.ca_file, fingerprints=("sha256:" + "0" * 64,)))


def test_what_a_server_shows_is_kept_where_its_fingerprint_is_not_the_wanted_one(authority: Authority) -> None:
    tls = authority.server()
    with pytest.raises(TlsFailed) as error:
        shake_hands(tls, Trust(fingerprints=("sha256:" + "0" * 64,)))
    assert error.value.presented is not None
    assert (error.value.presented.fingerprint, error.value.presented.version) == (authority.fingerprint, "TLSv1.3")


def test_a_certificate_that_no_ca_vouches_for_is_not_seen(authority: Authority) -> None:
    """The library drops it with the handshake."""
    with pytest.raises(TlsFailed) as error:
        shake_hands(authority.server(), Trust())
    assert error.value.presented is None


def test_a_ca_file_that_is_not_there_is_named() -> None:
    with pytest.raises(TlsFailed, match=r"ca_file /nowhere/ca.pem: No such file or directory"):
        tls_context(Trust(ca_file=Path("/nowhere/ca.pem")))


def test_a_ca_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(TlsFailed, match=r"ca_file .*empty\.pem: "):
        tls_context(Trust(ca_file=tmp_path / "empty.pem"))


def test_tls_is_at_least_1_2() -> None:
    """RFC 8996."""
    assert tls_context(Trust()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_server_that_is_older_than_asked_for_is_not_spoken_to(authority: Authority) -> None:
    tls = authority.server()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    said = refusal(tls, Trust(ca_file=authority.ca_file, min_version=TlsVersion.TLS_1_3))
    assert said == '127.0.0.1 does not speak TLS 1.3 or newer (is tls_min_version = "1.2" enough?)'


def test_a_server_of_the_version_asked_for_is(authority: Authority) -> None:
    trust = Trust(ca_file=authority.ca_file, min_version=TlsVersion.TLS_1_3)
    assert shake_hands(authority.server(), trust) == b"welcome"


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    """The authority whose clients the server takes."""
    return Authority(tmp_path, "clients-ca")


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@VERSIONS
def test_a_client_certificate_is_shown(authority: Authority, clients: Authority, version: ssl.TLSVersion) -> None:
    tls = authority.server_that_asks(clients)
    tls.maximum_version = version
    certificate, key = clients.client()
    assert shake_hands(tls, Trust(ca_file=authority.ca_file, certificate=certificate, key=key)) == b"welcome"


def test_certificate_and_key_may_share_a_file(authority: Authority, clients: Authority) -> None:
    certificate, key = clients.client()
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    certificate.chmod(0o600)
    trust = Trust(ca_file=authority.ca_file, certificate=certificate)
    assert shake_hands(authority.server_that_asks(clients), trust) == b"welcome"


@VERSIONS
def test_a_server_that_requires_a_certificate_names_the_key_to_set(
    authority: Authority, clients: Authority, version: ssl.TLSVersion
) -> None:
    """In TLS 1.3 the alert comes after the handshake."""
    tls = authority.server_that_asks(clients)
    tls.maximum_version = version
    said = refusal(tls, Trust(ca_file=authority.ca_file))
    assert "requires a client certificate" in said
    assert said.endswith("set tls_certificate")


@VERSIONS
def test_a_certificate_that_the_server_does_not_accept_is_not_taken_for_a_fault_of_the_line(
    authority: Authority, clients: Authority, version: ssl.TLSVersion
) -> None:
    tls = authority.server_that_asks(clients)
    tls.maximum_version = version
    certificate, key = authority.client()
    said = refusal(tls, Trust(ca_file=authority.ca_file, certificate=certificate, key=key))
    assert "the server does not accept our tls_certificate (unknown ca)" in said


def broken(trust: Trust) -> str:
    with pytest.raises(TlsFailed) as error:
        tls_context(trust)
    return str(error.value)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_private_key_that_others_can_read_is_refused(clients: Authority, mode: int) -> None:
    certificate, key = clients.client()
    key.chmod(mode)
    said = broken(Trust(certificate=certificate, key=key))
    assert said == f"{key} holds a private key and is readable by group or others: chmod 600 {key}"


def test_a_key_of_another_certificate_is_refused(clients: Authority) -> None:
    certificate, _ = clients.client()
    _, key = clients.client("other")
    said = broken(Trust(certificate=certificate, key=key))
    assert said == f"tls_key {key}: the private key does not belong to the certificate in {certificate}"


def test_a_certificate_without_its_key_says_where_the_key_goes(clients: Authority) -> None:
    certificate, _ = clients.client()
    certificate.chmod(0o600)
    assert "no private key in PEM in it; tls_key names its file" in broken(Trust(certificate=certificate))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(clients: Authority) -> None:
    """OpenSSL would ask at the terminal, and the service would hang."""
    certificate, key = clients.client()
    private_key = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    assert "has a passphrase" in broken(Trust(certificate=certificate, key=key))


def test_a_file_that_is_no_certificate_is_named(clients: Authority) -> None:
    certificate, key = clients.client()
    certificate.write_text("nothing")
    assert broken(Trust(certificate=certificate, key=key)).startswith(f"tls_certificate {certificate}: not a certif")


def test_a_certificate_that_is_not_there_is_named(clients: Authority) -> None:
    _, key = clients.client()
    assert broken(Trust(certificate=Path("/nowhere.pem"), key=key)) == (
        "tls_certificate /nowhere.pem: No such file or directory"
    )
