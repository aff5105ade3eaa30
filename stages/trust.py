"""How a server is trusted under TLS, and what we show it of ourselves: one value for accounts, relay and endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class TlsVersion(StrEnum):
    """The oldest version of TLS that may be spoken; nothing below 1.2 can be asked for (RFC 8996)."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom we trust; without any arguments whom the system trusts.

    `ca_file` replaces the system's CAs. `fingerprints` are `sha256:<hex>` of the server's certificate in DER; when any
    are given they replace both the CA and the name check. `certificate` is ours, in PEM with its chain, for a server
    that asks for one; `key` None: its private key is in the same file.
    """

    ca_file: Path | None = None
    fingerprints: tuple[str, ...] = ()
    min_version: TlsVersion = TlsVersion.TLS_1_2
    certificate: Path | None = None
    key: Path | None = None


TRUST_OF_THE_SYSTEM = Trust()
