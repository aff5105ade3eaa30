"""The sample mails are what their titles say."""

from __future__ import annotations

import re

import pytest

from pipeline.demo.mails import SPAM_MARKER, SampleMail, bounce, eight_bit, oversize, samples, spam

SAMPLES = samples(oversize_octets=10_000)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.title)
def test_every_line_ends_in_crlf(sample: SampleMail) -> None:
    """A demonstration that alters line ends on the way could not show that nothing is altered."""
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", sample.content) is None
    assert sample.content.endswith(b"\r\n")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.title)
def test_only_reserved_names_are_used(sample: SampleMail) -> None:
    """RFC 2606: no sample may ever reach anybody."""
    domains = re.findall(rb"@([a-z.]+)", sample.content)
    assert all(re.fullmatch(rb"(.+\.)?example(\.(com|net|org))?", domain.strip(b".")) for domain in domains)


def test_no_two_samples_are_equal() -> None:
    assert len({sample.content for sample in SAMPLES}) == len(SAMPLES)


def test_no_two_samples_share_a_message_id() -> None:
    message_ids = [re.findall(rb"^Message-ID: (.*)\r$", sample.content, re.MULTILINE)[0] for sample in SAMPLES]
    assert len(set(message_ids)) == len(SAMPLES)


def test_the_oversize_mail_has_the_octets_that_were_asked_for() -> None:
    assert 100_000 <= len(oversize(100_000)) < 101_000


def test_the_bounce_comes_from_the_null_reverse_path() -> None:
    """RFC 5321 section 4.5.5."""
    assert bounce().startswith(b"Return-Path: <>\r\n")


def test_the_8_bit_mail_is_8_bit() -> None:
    assert not eight_bit().isascii()


def test_the_spam_alone_carries_the_marker() -> None:
    assert [sample.content for sample in SAMPLES if SPAM_MARKER in sample.content] == [spam()]
