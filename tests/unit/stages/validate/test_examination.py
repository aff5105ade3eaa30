"""What validate decides on one message."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spool.envelope import Needs, Reason
from spool.errors import Damaged
from spool.opening import Spool
from spool.staging import Passed, Rejected
from stages.mail.headers import MAX_HEADER_OCTETS
from stages.mail.received import Hop, trace_field
from stages.settings import AccountSettings, BareNewlines, InvalidReversePath, ValidateSettings
from stages.validate.examination import Examined, Rules, examine
from tests.support.settings import account
from tests.support.spools import START, admit, arrival, make_spool, message

GATEWAY = "gw.corp.example"
PEER = "pop.isp.example"
SETTINGS = ValidateSettings(
    invalid_reverse_path=InvalidReversePath.BADMAIL,
    bare_newlines=BareNewlines.NORMALISE,
    max_hops=5,
    default_domain=None,
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return make_spool(tmp_path)


def look(
    spool: Spool,
    content: bytes,
    *,
    settings: ValidateSettings = SETTINGS,
    accounts: tuple[AccountSettings, ...] = (account(),),
    sender: str | None = None,
    recipients: tuple[str, ...] = (),
    objection: Reason | None = None,
) -> Examined:
    one = dataclasses.replace(arrival(content), sender=sender, recipients=recipients, objection=objection)
    (receipt,) = admit(spool, one)
    rules = Rules(settings=settings, accounts={one.name: one for one in accounts}, gateway=GATEWAY)
    return examine(spool, message(spool, receipt.queue_id), rules=rules)


def passed(examined: Examined) -> Passed:
    assert isinstance(examined.finding, Passed)
    return examined.finding


def reason(examined: Examined) -> str:
    assert isinstance(examined.finding, Rejected)
    return str(examined.finding.reason)


def trace(recipients: tuple[str, ...] = ("sales@corp.example",)) -> bytes:
    hop = Hop(peer_host=PEER, gateway=GATEWAY, recipients=recipients)
    return trace_field(hop, peer_address="192.0.2.1", queue_id="01j0e5v3xk7m2q9r4s", fetched_at=START)


def test_the_reverse_path_comes_from_the_header_and_the_recipients_from_the_account(spool: Spool) -> None:
    found = passed(look(spool, b"Return-Path: <alice@example.org>\r\nSubject: hello\r\n\r\n"))
    assert (found.sender, found.recipients) == ("alice@example.org", ("sales@corp.example",))
    assert found.subject == "hello"


def test_the_envelope_of_a_pickup_file_is_kept(spool: Spool) -> None:
    content = b"Return-Path: <alice@example.org>\r\n\r\n"
    found = passed(look(spool, content, sender="bob@example.org", recipients=("boss@corp.example",)))
    assert (found.sender, found.recipients) == ("bob@example.org", ("boss@corp.example",))


def test_the_null_path_of_a_pickup_file_is_kept(spool: Spool) -> None:
    assert passed(look(spool, b"From: a@example.org\r\n\r\n", sender="", recipients=("a@corp.example",))).sender == ""


def test_a_bare_local_part_gets_the_domain_of_the_account(spool: Spool) -> None:
    assert passed(look(spool, b"From: alice\r\n\r\n")).sender == "alice@corp.example"


def test_without_an_account_a_bare_local_part_gets_the_configured_domain(spool: Spool) -> None:
    settings = dataclasses.replace(SETTINGS, default_domain="default.example")
    found = look(spool, b"From: alice\r\n\r\n", settings=settings, accounts=(), recipients=("a@corp.example",))
    assert passed(found).sender == "alice@default.example"


def test_without_any_domain_a_bare_local_part_is_refused(spool: Spool) -> None:
    assert "no domain" in reason(look(spool, b"From: alice\r\n\r\n", accounts=(), recipients=("a@corp.example",)))


def test_an_unusable_reverse_path_is_refused_with_the_text_of_the_header(spool: Spool) -> None:
    said = reason(look(spool, b"From: <broken\r\n\r\n"))
    assert said.startswith("validate: unusable From: ")
    assert "From: <broken" in said


def test_an_unusable_reverse_path_becomes_null_where_it_is_so_configured(spool: Spool) -> None:
    settings = dataclasses.replace(SETTINGS, invalid_reverse_path=InvalidReversePath.NULL)
    found = look(spool, b"From: <broken\r\n\r\n", settings=settings)
    assert passed(found).sender == ""
    assert [type(event).__name__ for event in found.events] == ["ReversePathReplaced"]


def test_an_unusable_reverse_path_gives_way_to_the_next_header_where_it_is_so_configured(spool: Spool) -> None:
    settings = dataclasses.replace(SETTINGS, invalid_reverse_path=InvalidReversePath.FALLBACK)
    found = look(spool, b"Sender: <broken\r\nFrom: a@example.org\r\n\r\n", settings=settings)
    assert passed(found).sender == "a@example.org"
    assert [event.text for event in found.events] == [
        "submitted with the reverse-path <a@example.org> instead: unusable Sender: "
        "an angle bracket is not closed, in: Sender: <broken"
    ]
    assert "unusable Sender" in reason(look(spool, b"Sender: <broken\r\n\r\n", settings=settings))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"one\ntwo\r\n", "a bare LF in the message"),
        (b"one\rtwo\r\n", "a bare CR in the message"),
        (b"one\rtwo\nthree\r\n", "a bare CR and a bare LF in the message"),
    ],
)
def test_bare_line_ends_are_mended_or_refused_as_it_is_configured(spool: Spool, body: bytes, said: str) -> None:
    """RFC 5321 section 2.3.8."""
    content = b"From: a@example.org\r\n\r\n" + body
    assert passed(look(spool, content)).sender == "a@example.org"
    strict = dataclasses.replace(SETTINGS, bare_newlines=BareNewlines.BADMAIL)
    assert reason(look(spool, content, settings=strict)) == f'validate: {said}, and submit.bare_newlines = "badmail"'
    assert passed(look(spool, b"From: a@example.org\r\n\r\nclean\r\n", settings=strict)).sender == "a@example.org"


def test_what_relays_may_not_bear_is_noted(spool: Spool) -> None:
    found = passed(look(spool, b"From: a@example.org\r\n\r\n\0\xe4" + b"x" * 2000 + b"\r\n"))
    assert found.needs == Needs(eightbit=True, overlong_line_octets=2002, has_nul=True)


def test_a_refused_message_keeps_its_recipients_and_subject_for_the_operator(spool: Spool) -> None:
    finding = look(spool, b"Subject: hello\r\n\r\n").finding
    assert isinstance(finding, Rejected)
    assert (finding.recipients, finding.subject) == (("sales@corp.example",), "hello")


def test_an_objection_of_fetch_refuses_at_once(spool: Spool) -> None:
    objection = Reason(stage="fetch", text="12 MB, more than max_message_size")
    assert reason(look(spool, b"From: a@example.org\r\n\r\n", objection=objection)) == str(objection)


def test_a_message_of_an_account_that_is_no_longer_configured_is_refused(spool: Spool) -> None:
    """It must be seen: waiting in silence for a configuration that may never come is how mail gets lost."""
    assert "no account 'sales' any more" in reason(look(spool, b"From: a@example.org\r\n\r\n", accounts=()))


def test_more_hops_than_allowed_are_refused(spool: Spool) -> None:
    assert "max_hops" in reason(look(spool, b"Received: from x by y\r\n" * 6 + b"From: a@example.org\r\n\r\n"))


def test_our_own_trace_once_is_no_loop(spool: Spool) -> None:
    """A user may forward to the mailbox that we poll."""
    passed(look(spool, trace() + b"From: a@example.org\r\n\r\n"))


def test_our_own_trace_twice_is_a_loop(spool: Spool) -> None:
    assert "loop" in reason(look(spool, trace() + trace() + b"From: a@example.org\r\n\r\n"))


def test_the_trace_is_known_again_when_some_recipients_are_done_with(spool: Spool) -> None:
    """Submit writes whom the account is for, at each attempt the same."""
    two = dataclasses.replace(account(), deliver_to=("sales@corp.example", "info@corp.example"))
    content = 2 * trace(two.deliver_to) + b"From: a@example.org\r\n\r\n"
    assert "loop" in reason(look(spool, content, accounts=(two,), recipients=("info@corp.example",)))


def test_what_the_relay_must_offer_is_found_out(spool: Spool) -> None:
    found = passed(look(spool, "From: ä@example.org\r\n\r\nö\r\n".encode()))
    assert (found.needs.eightbit, found.needs.smtputf8) == (True, True)


def test_a_header_beyond_the_first_piece_is_read(spool: Spool) -> None:
    """Messages are read piece by piece; the header scan sees as much as it looks at."""
    padding = b"X-Long: " + b"x" * 900 + b"\r\n"
    content = padding * ((MAX_HEADER_OCTETS - 2000) // len(padding)) + b"From: a@example.org\r\n\r\n"
    assert passed(look(spool, content)).sender == "a@example.org"


def test_bytes_that_are_not_the_admitted_ones_are_never_passed(spool: Spool) -> None:
    (receipt,) = admit(spool, arrival())
    row = message(spool, receipt.queue_id)
    assert row.stored is not None
    content = bytearray(row.stored.path.read_bytes())
    content[-3] ^= 1
    row.stored.path.write_bytes(content)
    with pytest.raises(Damaged):
        examine(spool, row, rules=Rules(settings=SETTINGS, accounts={}, gateway=GATEWAY))


@pytest.mark.parametrize("sender", [b"From: a@example.org\r\n", b"From: nobody\r\n"])
def test_the_message_id_is_noted_of_what_passes_and_of_what_is_refused(spool: Spool, sender: bytes) -> None:
    examined = look(spool, sender + b"Message-ID: <1@example.org>\r\n\r\nx\r\n", accounts=(account(),))
    assert examined.finding.message_id == "1@example.org"
