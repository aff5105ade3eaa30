"""Every parser is total: a text is a configuration, or it is refused by the number of one of its lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.migration import fetchmailrc, getmailrc, mpoprc
from pipeline.migration.theirs import Place, Theirs, Unreadable

PLACE = Place(directory=Path("/etc"), home=Path("/root"))
WORDS: dict[Callable[[str, Place], Theirs], str] = {
    fetchmailrc.mailboxes: "poll skip server defaults set user username pass is to here there no keep nokeep ssl "
    "sslproto proto pop3 imap auth password = , ; : # \\ \" ' * 1 -1 995 99999999999 daemon idfile interval smtphost "
    "lmtp x a.example mx/25 port service envelope aka via mda sslfingerprint antispam limit with and has ö \x00 \x85",
    getmailrc.mailboxes: "[retriever] [destination] [options] [x] type=SimplePOP3Retriever "
    "type=SimplePOP3SSLRetriever type=MDA_lmtp server=a.example server= username=jo port=1 port=x port=99999 "
    "password=s password_command=('a',) ssl_fingerprints=('x',) delete=true delete=x delete_after=3 host=/x host=y "
    "= : # ; ö \x00 \x85 \x1c ( ) ' \"",
    mpoprc.mailboxes: "account defaults host port user password passwordeval auth tls tls_starttls tls_trust_file "
    "tls_fingerprint keep uidls_file delivery killsize eval socket a b : , a.example 1 99999 on off 3d 3w ~ ~/x %U %H "
    '" # ö \x00 \x85',
}
PARSERS = list(WORDS)


def read(parse: Callable[[str, Place], Theirs], text: str) -> None:
    lines = range(1, text.count("\n") + 2)
    try:
        found = parse(text, PLACE)
        refused = None
    except Unreadable as error:
        found, refused = None, error
    if found is None:
        assert refused is not None
        assert (refused.line in lines, "\n" in refused.text) == (True, False)
    else:
        told = [note.line for note in found.notes] + [mailbox.line for mailbox in found.mailboxes]
        assert all(line in lines for line in told)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__module__)
@given(text=st.text(max_size=300))
def test_any_text_is_read_or_refused_by_a_line(parse: Callable[[str, Place], Theirs], text: str) -> None:
    read(parse, text)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__module__)
@given(data=st.data())
def test_any_row_of_its_words_is_read_or_refused_by_a_line(
    parse: Callable[[str, Place], Theirs], data: st.DataObject
) -> None:
    words = st.lists(st.sampled_from(WORDS[parse].split(" ")), max_size=40)
    gaps = st.sampled_from([" ", "\n", "\n ", "\t", ""])
    read(parse, "".join(word + data.draw(gaps) for word in data.draw(words)))
