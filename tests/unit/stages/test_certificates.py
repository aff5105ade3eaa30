"""Certificates for people to read, whoever made them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from stages.certificates import read_certificate

EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def der(*names: str, common_name: str = "pop.isp.example") -> bytes:
    issued = trustme.CA(organization_name="Honest CA").issue_cert(
        *names, common_name=common_name, organization_name="ISP", not_after=EXPIRES
    )
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_it_says_whose_it_is_who_vouches_and_until_when() -> None:
    found = read_certificate(der("pop.isp.example", "*.isp.example", "192.0.2.1"))
    assert found is not None
    assert "CN=pop.isp.example" in found.subject
    assert "O=Honest CA" in found.issuer
    assert (found.names, found.expires_at) == (("pop.isp.example", "*.isp.example", "192.0.2.1"), EXPIRES)


def test_what_its_maker_wrote_reaches_no_terminal_as_it_is() -> None:
    """An attacker's certificate is read to be shown just when it is not trusted."""
    found = read_certificate(der("pop.isp.example", common_name="\x1b[2J"))
    assert found is not None
    assert "\\x1b[2J" in found.subject
    assert found.subject.isprintable()


def test_a_version_that_does_not_exist_is_no_certificate() -> None:
    """RFC 5280 section 4.1.2.1."""
    strange = der("pop.isp.example").replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)
    assert read_certificate(strange) is None


@pytest.mark.parametrize("octets", [b"", b"no certificate"])
def test_what_is_none_is_told_as_none(octets: bytes) -> None:
    assert read_certificate(octets) is None


WHOLE = der("pop.isp.example")


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_no_octet_of_a_certificate_is_trusted_to_be_right(place: int, octet: int) -> None:
    read_certificate(WHOLE[:place] + bytes([octet]) + WHOLE[place + 1 :])


@given(st.binary(max_size=200))
def test_it_is_total_on_any_octets(octets: bytes) -> None:
    read_certificate(octets)
