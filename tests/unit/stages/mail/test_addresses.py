"""Addresses: read by RFC 5322, let through by RFC 5321 and RFC 6531."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.mail.addresses import Address, Malformed, NullPath, first_mailbox, leading_path, mailboxes


def first(value: bytes, default_domain: str | None = "corp.example") -> str:
    """The first mailbox as text: the address, `<>`, or the reason against it in parentheses."""
    found = first_mailbox(value, default_domain)
    match found:
        case Malformed():
            return f"({found.reason})"
        case NullPath():
            return "<>"
        case Address():
            return str(found)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"ann@example.org", "ann@example.org"),
        (b"Ann Other <ann@example.org>", "ann@example.org"),
        (b'"Other, Ann" <ann@example.org>', "ann@example.org"),
        (b"Ann Q. Other <ann@example.org>", "ann@example.org"),
        (b"=?utf-8?q?=3Cbad=40example=2Enet=3E?= <ann@example.org>", "ann@example.org"),
        (b"J\xf6rg <joerg@example.org>", "joerg@example.org"),
        (b"bad@example.net <ann@example.org>", "ann@example.org"),
        (b"<ann@example.org>, <bob@example.org>", "ann@example.org"),
        (b",, ann@example.org,", "ann@example.org"),
        (b"Ann@Example.ORG", "Ann@Example.ORG"),
        (b"a!b%c@example.org", "a!b%c@example.org"),
        (b"=?utf-8?q?a?=@example.org", "=?utf-8?q?a?=@example.org"),
    ],
)
def test_the_address_is_taken_out_of_its_decoration(value: bytes, address: str) -> None:
    """RFC 5322 section 3.4."""
    assert first(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"(bad@example.net) ann@example.org", "ann@example.org"),
        (b"ann (it's me) @ (my host) example . org", "ann@example.org"),
        (b"(a (b (c)) d) <ann@example.org> (e)", "ann@example.org"),
        (b'ann@example.org (one " quote, one \\) parenthesis)', "ann@example.org"),
        (b"(" * 50_000 + b")" * 50_000 + b"ann@example.org", "ann@example.org"),
    ],
)
def test_comments_carry_no_address_at_any_depth(value: bytes, address: str) -> None:
    """RFC 5322 section 3.2.2."""
    assert first(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"<@a.example,@b.example:ann@example.org>", "ann@example.org"),
        (b"Ann < @a.example , , @[192.0.2.7] : ann @ example.org >", "ann@example.org"),
    ],
)
def test_a_source_route_is_dropped(value: bytes, address: str) -> None:
    """RFC 5321 appendix C."""
    assert first(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"Staff: ann@example.org, bob@example.org;", "ann@example.org"),
        (b"Nobody:;, ann@example.org", "ann@example.org"),
        (b'"The Staff" : <ann@example.org> ;', "ann@example.org"),
        (b"Staff: ann@example.org", "ann@example.org"),
        (b"undisclosed-recipients:;", "(no mailbox)"),
    ],
)
def test_the_members_of_a_group_are_mailboxes(value: bytes, address: str) -> None:
    """RFC 6854 allows groups in From, empty ones too."""
    assert first(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (rb'"ann"@example.org', "ann@example.org"),
        (rb'"a.b".c@example.org', "a.b.c@example.org"),
        (rb'"ann other"@example.org', '"ann other"@example.org'),
        (rb'"\a\n\n"@example.org', "ann@example.org"),
        (rb'"a\"b\\c"@example.org', r'"a\"b\\c"@example.org'),
        (rb'<"a>b"@example.org>', '"a>b"@example.org'),
        (rb'"a@b"@example.org', '"a@b"@example.org'),
        (rb'"a..b"@example.org', '"a..b"@example.org'),
    ],
)
def test_a_local_part_is_quoted_only_where_it_must_be(value: bytes, address: str) -> None:
    """RFC 5321 section 4.1.2."""
    assert first(value) == address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"ann", "ann@corp.example"),
        (b"Ann <ann>", "ann@corp.example"),
        (b"first.last (Ann)", "first.last@corp.example"),
        (b'<"ann other">', '"ann other"@corp.example'),
        ("анна".encode(), "анна@corp.example"),
    ],
)
def test_a_bare_local_part_gets_the_default_domain(value: bytes, address: str) -> None:
    assert first(value) == address


def test_an_address_before_a_colon_is_no_name_of_a_group() -> None:
    """RFC 5322 section 3.4: a group is named by a phrase; the first address must not vanish without a word."""
    assert first(b"ann@example.org: bob@example.org").startswith("(")


def test_an_element_of_more_words_than_an_address_can_have_ends_the_list() -> None:
    found = list(mailboxes(b"a " * 2000 + b"<ann@example.org>, bob@example.org"))
    assert found == [Malformed("more words than an address can have")]


def test_a_bare_local_part_is_no_address_where_there_is_no_default_domain() -> None:
    assert first(b"ann", None) == "(no domain)"


def test_a_bare_encoded_word_is_not_completed() -> None:
    """RFC 2047 section 5: a display name that lost its address."""
    assert first(b"=?utf-8?q?Ann?=").startswith("(")


def test_a_name_with_an_unquoted_comma_is_not_taken_for_a_local_part() -> None:
    assert first(b"Other, Ann <ann@example.org>") == "ann@example.org"


def test_a_bare_local_part_before_an_address_without_a_name_is_a_mailbox() -> None:
    assert first(b"ann, <bob@example.org>") == "ann@corp.example"


@pytest.mark.parametrize("value", [b"<>", b" < (nothing) > (x)", b"nobody <>"])
def test_empty_angle_brackets_are_the_null_path(value: bytes) -> None:
    """RFC 5322 section 3.6.7."""
    assert first(value) == "<>"


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"(nothing)", b"Ann Other", b"ann at example.org", b"Ann ann@example.org", b"@example.org", b"ann@"),
        *(b"<@a.example>", b"<@a.example:>", b'""@example.org', b'<"">', b"ann@@example.org", b"a@b@example.org"),
        *(b".ann@example.org", b"ann.@example.org", b"a..b@example.org", b"<<ann@example.org>", b"ann@example.org>"),
        *(b"<ann@example.org>>", b"<ann@example.org", b"<ann@example.org> SIZE=1", b"<a@b.example> <c@d.example>"),
        *(
            b'"Ann <ann@example.org>',
            b"ann@example.org (open",
            b"ann@example.org )",
            b"ann\\@example.org",
            b"a[@b.example",
        ),
        *(b"<mailto:ann@example.org>", b"<ann other@example.org>", b"[192.0.2.1]@example.org"),
    ],
)
def test_what_has_no_clear_reading_is_no_address(value: bytes) -> None:
    assert first(value).startswith("(")


@pytest.mark.parametrize(
    "octets",
    [
        b"\x00",
        b"\r",
        b"\n",
        b"\x01",
        b"\x1b",
        b"\x7f",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xe2\x80\xae",
        b"\xc0\xaf",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbd",
        b"\xc2\xa0",
    ],
)
@pytest.mark.parametrize(
    "form", [b"<a%sb@example.org>", b'<"a%sb"@example.org>', b"<a@ex%sample.org>", b"a%s@example.org"]
)
def test_controls_and_what_is_not_utf8_never_pass(octets: bytes, form: bytes) -> None:
    """RFC 5321 section 4.1.2, RFC 3629 section 3; NEL, line separators and bidirectional overrides are such too."""
    assert first(form % octets).startswith("(")


@pytest.mark.parametrize(
    "domain",
    [
        "example",
        "a-b.example",
        "xn--bcher-kva.example",
        "1.example",
        "[192.0.2.1]",
        "[IPv6:2001:db8::1]",
        "x" * 63 + ".example",
    ],
)
def test_a_domain_of_the_grammar_passes(domain: str) -> None:
    assert first(b"ann@" + domain.encode()) == f"ann@{domain}"


@pytest.mark.parametrize(
    "domain",
    [
        *("-a.example", "a-.example", "a_b.example", "a..example", "example.", ".example", "x" * 64 + ".example"),
        *(
            "[300.0.0.1]",
            "[192.0.2]",
            "[IPv6:fe80::1%eth0]",
            "[IPv6:zz]",
            "[x-tag:1]",
            "[]",
            '"example"',
            "a\uff0eexample",
        ),
        *(
            "lab\u3002example",
            "user\uff20example",
            "\u00fc" * 64 + ".example",
            "\u00fc" * 60 + ".example",
            "-\u00fc.example",
            ".".join(["d" * 63] * 4) + ".d",
        ),
    ],
)
def test_a_domain_outside_the_grammar_does_not_pass(domain: str) -> None:
    """RFC 5321 sections 4.1.2 and 4.1.3; RFC 5890 for U-labels."""
    assert first(b"ann@" + domain.encode()).startswith("(")


LONG_DOMAIN = ".".join(["d" * 60] * 4)


@pytest.mark.parametrize(
    "address",
    ["a" * 64 + "@example.org", f"{'a' * 10}@{LONG_DOMAIN}"],
    ids=["local part", "path"],
)
def test_one_octet_more_than_the_limit_is_too_long(address: str) -> None:
    """RFC 5321 section 4.5.3.1: 64 for the local part, 255 for the domain, 256 for the path with its brackets."""
    assert (first(address.encode()), first(f"a{address}".encode())[0]) == (address, "(")


def test_lengths_are_counted_in_octets_not_characters() -> None:
    """RFC 6531 section 3.3: UTF-8 octets."""
    assert (first(("é" * 32 + "@example.org").encode())[0], first(("é" * 33 + "@example.org").encode())[0]) == (
        "é",
        "(",
    )


def test_the_quotes_of_a_local_part_count() -> None:
    assert first(b'"' + b"a " * 31 + b'a"@example.org')[0] == "("


@pytest.mark.parametrize(
    ("value", "needs"),
    [
        ("josé@example.org", True),
        ("ann@bücher.example", True),
        ("ann@пример.example", True),
        ("ann@xn--bcher-kva.example", False),
        ("José <jose@example.org>", False),
    ],
)
def test_smtputf8_is_needed_for_the_address_alone(value: str, needs: bool) -> None:
    """RFC 6531 section 3.4."""
    found = first_mailbox(value.encode())
    assert isinstance(found, Address)
    assert found.needs_smtputf8 is needs


def test_every_mailbox_of_a_list_is_found_in_order() -> None:
    found = mailboxes(b"a@example.org, Staff: B <b@example.org>, c@example.org;, , (d) e@example.org")
    assert list(map(str, found)) == ["a@example.org", "b@example.org", "c@example.org", "e@example.org"]


def test_a_malformed_mailbox_does_not_hide_the_others() -> None:
    found = list(mailboxes(b"a@example.org, two words, c@example.org"))
    assert [isinstance(mailbox, Malformed) for mailbox in found] == [False, True, False]


@pytest.mark.parametrize(
    "value",
    [
        b"<ann@example.org>",
        b"ann@example.org",
        b"<ann@example.org> BODY=7bit RET=HDRS",
        b"ann@example.org\tSIZE=1",
        b"<ann@example.org>\xff",
    ],
)
def test_parameters_behind_a_leading_path_are_ignored(value: bytes) -> None:
    """Exchange writes ESMTP parameters into X-Sender and X-Receiver."""
    assert str(leading_path(value)) == "ann@example.org"


@pytest.mark.parametrize("value", [b"", b"<ann@example.org", b"Ann <ann@example.org>", b"ann", b"\x00"])
def test_a_value_that_does_not_begin_with_a_path_has_none(value: bytes) -> None:
    assert isinstance(leading_path(value), Malformed)


HOSTILE = st.lists(
    st.sampled_from(
        [b"(", b")", b"<", b">", b'"', b"\\", b"@", b",", b":", b";", b".", b"[", b"]", b" ", b"\t", b"\r", b"\n"]
    )
    | st.sampled_from(
        [b"\0", b"a", b"example.org", b"ann@example.org", b"192.0.2.1", b"IPv6:", "ü".encode(), b"\xff", b"%"]
    )
    | st.binary(max_size=4)
).map(b"".join)


def envelope_safe(address: Address) -> bool:
    text = str(address)
    text.encode()  # strictly UTF-8
    unquoted = address.domain if address.local.startswith('"') else text
    return not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in text) and not set(" <>") & set(unquoted)


@given(HOSTILE)
def test_no_input_raises_and_no_address_can_break_out_of_a_command(value: bytes) -> None:
    """CR, LF and NUL never; space and angle brackets only between the quotes of a local part."""
    found = [*mailboxes(value, "corp.example"), first_mailbox(value), leading_path(value)]
    assert all(envelope_safe(address) for address in found if isinstance(address, Address))


@given(HOSTILE)
def test_an_address_that_came_out_is_read_as_itself(value: bytes) -> None:
    """What we send is what a relay reads by the same grammar."""
    for found in mailboxes(value, "corp.example"):
        if isinstance(found, Address):
            assert first_mailbox(str(found).encode()) == found
            assert first_mailbox(f"<{found}>".encode()) == found


@pytest.mark.parametrize(
    "unit",
    [
        b"(",
        b"()",
        b"(\\",
        b'"',
        b'"a',
        b'\\"',
        b"<",
        b">",
        b"<>",
        b"@",
        b"a@",
        b"a.",
        b".",
        b",",
        b"a,",
        b":",
        b"a:",
        b"[",
        b"[a]",
        b" ",
        b"a",
        b"a ",
        b"\xff",
        "ü".encode(),
        b"<@a:",
        b"a;",
    ],
)
@pytest.mark.parametrize("start", [b"", b'"', b"<", b"a@", b"a " * 50_000 + b"@"])
def test_hostile_values_take_linear_time(start: bytes, unit: bytes) -> None:
    """At this length anything quadratic would take many minutes."""
    value = start + unit * (100_000 // len(unit))
    started = perf_counter()
    for _ in mailboxes(value, "corp.example"):
        pass
    first_mailbox(value)
    leading_path(value)
    assert perf_counter() - started < 5
