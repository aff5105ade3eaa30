"""The TLS side of a connection: a client context made of a `Trust`, and failures as one line that says what to mend.

**Invariants:** TLS 1.2 or newer. CA and host name are checked unless fingerprints are given. A private key that group
or others can read is refused, and one with a passphrase never asks for it at a terminal.

**Failures:** `TlsFailed`.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from spool.safe_text import safe_text
from stages.errors import NetworkError
from stages.passwords import READABLE_BY_OTHERS
from stages.trust import TlsVersion, Trust

_VERSIONS = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}
# Of alerts that a server sends (RFC 8446 section 6.2), those about the certificate that we showed or did not show.
_WANTS_CERTIFICATE = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED"})
_REFUSES_CERTIFICATE = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_DECRYPT_ERROR",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
_TOO_OLD = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What a handshake came to; `certificate` is the server's, in DER."""

    version: str
    cipher: str
    certificate: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The certificate's, in the form that `tls_fingerprint` takes."""
        return f"sha256:{hashlib.sha256(self.certificate).hexdigest()}"


class TlsFailed(NetworkError):
    """The peer could not be trusted or does not speak TLS; the text says what to mend.

    `presented` is what it showed, where it is known: with fingerprints alone the handshake ends before it is judged.
    """

    def __init__(self, text: str, *, presented: TlsFacts | None = None) -> None:
        super().__init__(text)
        self.presented = presented


def tls_context(trust: Trust) -> ssl.SSLContext:
    """Build a client context; raises `TlsFailed` when a file that `trust` names cannot be used."""
    try:
        context = ssl.create_default_context(cafile=None if trust.ca_file is None else str(trust.ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise TlsFailed(f"ca_file {trust.ca_file}: {_file_reason(error)}") from error
    context.minimum_version = _VERSIONS[trust.min_version]
    if trust.fingerprints:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if trust.certificate is not None:
        _show_certificate(context, trust.certificate, key=trust.key)
    return context


def facts_of(tls: ssl.SSLObject) -> TlsFacts:
    """What the handshake of this connection came to."""
    cipher = tls.cipher()
    return TlsFacts(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        certificate=tls.getpeercert(binary_form=True) or b"",
    )


def check_fingerprint(presented: TlsFacts, trust: Trust, *, name: str) -> None:
    """Raise `TlsFailed` unless the server's certificate is a pinned one, where any is pinned."""
    if not trust.fingerprints:
        return
    trusted = {fingerprint.lower().removeprefix("sha256:").replace(":", "") for fingerprint in trust.fingerprints}
    if presented.fingerprint.removeprefix("sha256:") not in trusted:
        raise TlsFailed(
            f"the certificate of {name} is not one of tls_fingerprint: it has {presented.fingerprint}",
            presented=presented,
        )


def handshake_failed(error: ssl.SSLError, trust: Trust, *, name: str) -> TlsFailed:
    """Say what went wrong in a handshake with `name`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(_verification_reason(error, name))
    reason = error.reason or ""
    if about_us := alert_reason(error):
        return TlsFailed(f"the TLS handshake with {name} failed: {about_us}")
    if reason in _TOO_OLD:
        mend = ' (is tls_min_version = "1.2" enough?)' if trust.min_version is not TlsVersion.TLS_1_2 else ""
        return TlsFailed(f"{name} does not speak TLS {trust.min_version} or newer{mend}")
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" and trust.certificate is None:
        # Up to TLS 1.2 a server has no other word for a certificate that it misses.
        return TlsFailed(f"{name} refused the TLS handshake; if it requires a client certificate, set tls_certificate")
    shown = reason.replace("_", " ").lower() or "no reason given"
    return TlsFailed(f"the TLS handshake with {name} failed: {shown} (is this a TLS port?)")


def alert_reason(error: Exception) -> str | None:
    """Say what the server has against our certificate, where the error is such an alert.

    In TLS 1.3 it comes after the handshake, instead of the first octets that are read.
    """
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    if reason in _WANTS_CERTIFICATE:
        return "the server requires a client certificate: set tls_certificate"
    if reason in _REFUSES_CERTIFICATE:
        said = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return f"the server does not accept our tls_certificate ({said})"
    return None


def _show_certificate(context: ssl.SSLContext, certificate: Path, *, key: Path | None) -> None:
    private = _private_content(certificate if key is None else key)
    try:
        # The passphrase is "": without one OpenSSL would ask at the terminal.
        context.load_cert_chain(str(certificate), None if key is None else str(key), password=lambda: "")
    except ssl.SSLError as error:
        field = f"tls_certificate {certificate}" if key is None else f"tls_key {key}"
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsFailed(f"{field}: the private key does not belong to the certificate in {certificate}") from error
        if b"ENCRYPTED" in private:
            raise TlsFailed(f"{field}: the private key has a passphrase; it must be stored without one") from error
        if b"PRIVATE KEY-----" not in private:
            raise TlsFailed(f"{field}: there is no private key in PEM in it; tls_key names its file") from error
        raise TlsFailed(f"tls_certificate {certificate}: not a certificate in PEM with its private key") from error
    except OSError as error:
        raise TlsFailed(f"tls_certificate {certificate}: {error.strerror}") from error


def _private_content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & READABLE_BY_OTHERS:
                raise TlsFailed(f"{path} holds a private key and is readable by group or others: chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise TlsFailed(f"{path}: {error.strerror}") from error


def _verification_reason(error: ssl.SSLCertVerificationError, name: str) -> str:
    match error.verify_code:
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return f"the certificate is not for {name}: use the name in the certificate as host, or tls_fingerprint"
        case 9 | 10:  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
            return f"the certificate of {name} is out of date: {error.verify_message} (is this machine's clock right?)"
        case 18 | 19 | 20 | 21:  # self-signed, or an issuer that is not in the store
            return f"the certificate of {name} has no known CA: {error.verify_message}; set ca_file or tls_fingerprint"
        case _:
            return f"the certificate of {name} is not valid: {error.verify_message}"


def _file_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or safe_text(str(error).encode())
