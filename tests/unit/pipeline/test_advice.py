"""What an operator is told to mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.advice import advice, settings_advice
from pipeline.lookout import View
from spool.envelope import Uidl
from stages.errors import TryLater
from stages.fetch.outlook import Fate, Foreseen, Outlook
from stages.fetch.plan import Limit, Listed
from stages.fetch.visit import Sight
from stages.pop3.replies import Capabilities, MaildropSize, capabilities
from stages.settings import Ambiguous, Oversize
from stages.tls import TlsFacts
from tests.support.settings import account, default_settings

DAY = timedelta(days=1)
LIMIT = Limit(octets=1000, source="SIZE of the relay")
TLS = TlsFacts(version="TLSv1.3", cipher="x", certificate=b"x")
NO_CAPA = Capabilities()


def foreseen(*fates: Fate, uidl: str = "u", octets: int | None = 10) -> list[Foreseen]:
    return [
        Foreseen(message=Listed(number=number, octets=octets, uidl=Uidl(uidl.encode())), fate=fate, is_asked_for=False)
        for number, fate in enumerate(fates, start=1)
    ]


def told(
    messages: Sequence[Foreseen] = (),
    *,
    sight: Sight | None = None,
    capa: str = "",
    leave: timedelta | None = timedelta(0),
    is_first: bool = False,
    doubt: str | None = None,
    oversize: Oversize = Oversize.LEAVE,
) -> list[str]:
    """The advice for a maildrop that was seen under TLS, with `capa` as the lines of CAPA."""
    told = capabilities(line.encode() for line in capa.splitlines())
    whole = Sight(
        tls=TLS,
        is_trusted=True,
        offered=told,
        capabilities=told,
        size=MaildropSize(count=len(messages), octets=None),
        has_uidl=True,
    )
    return list(
        advice(
            View(
                account=replace(account(), leave_on_server=leave),
                sight=sight or whole,
                limit=LIMIT,
                oversize=oversize,
                outlook=Outlook(messages=messages, doubt=doubt, is_first=is_first),
            )
        )
    )


def test_where_all_is_well_nothing_is_said() -> None:
    assert told(foreseen(Fate.NEW, Fate.HAD), capa="UIDL\nLOGIN-DELAY 300\nEXPIRE NEVER", leave=None) == []


@pytest.mark.parametrize(
    ("offered", "mend"),
    [("STLS", 'set tls = "starttls"'), ("USER", 'try tls = "implicit"'), ("", 'try tls = "implicit"')],
)
def test_a_connection_without_tls_is_told_of_with_what_the_server_offers(offered: str, mend: str) -> None:
    plain = Sight(offered=capabilities([offered.encode()]))
    (line,) = told(sight=plain)
    assert mend in line


def test_a_certificate_that_is_not_trusted_is_told_in_the_form_that_pins_it() -> None:
    (line,) = told(sight=Sight(tls=TLS, error=TryLater("no known CA")))
    assert f'tls_fingerprint = "{TLS.fingerprint}"' in line


def test_of_a_server_that_was_not_reached_nothing_is_known() -> None:
    assert told(sight=Sight(error=TryLater("cannot connect"))) == []


@pytest.mark.parametrize(("seconds", "is_told"), [(900, False), (901, True), (0, False)])
def test_a_login_delay_longer_than_the_interval_is_told_of(seconds: int, is_told: bool) -> None:
    """RFC 2449 section 6.5; the interval of the account is 15 minutes."""
    lines = told(capa=f"LOGIN-DELAY {seconds}")
    assert [("LOGIN-DELAY" in line and "900 s" in line) for line in lines] == [True] * is_told


@pytest.mark.parametrize(
    ("days", "leave", "is_told"),
    [
        pytest.param("0", timedelta(0), False, id="fetched mail is deleted anyway"),
        pytest.param("0", DAY, True, id="nothing stays"),
        pytest.param("0", None, True, id="nothing stays for ever"),
        pytest.param("14", 14 * DAY, False, id="as long as wanted"),
        pytest.param("13", 14 * DAY, True, id="shorter than wanted"),
        pytest.param("365", None, True, id="for ever is longer"),
        pytest.param("30", timedelta(0), False, id="what is deleted at once"),
        pytest.param("NEVER", None, False, id="never"),
    ],
)
def test_a_server_that_deletes_sooner_than_we_do_is_told_of(days: str, leave: timedelta | None, is_told: bool) -> None:
    """RFC 2449 section 6.7."""
    assert ["EXPIRE" in line for line in told(capa=f"EXPIRE {days}", leave=leave)] == [True] * is_told


@pytest.mark.parametrize(("leave", "is_told"), [(timedelta(0), False), (DAY, True), (None, True)])
@pytest.mark.parametrize(("has_uidl", "uidl", "count"), [(False, "", 1), (False, "", 0), (True, "", 1)])
def test_without_uidl_nothing_can_stay(
    leave: timedelta | None, is_told: bool, has_uidl: bool, uidl: str, count: int
) -> None:
    """Also an empty maildrop tells by its refusal of UIDL."""
    messages = foreseen(*[Fate.NEW] * count, uidl=uidl)
    size = MaildropSize(count=count, octets=None)
    sight = Sight(tls=TLS, is_trusted=True, capabilities=NO_CAPA, size=size, has_uidl=has_uidl)
    lines = told(messages, sight=sight, leave=leave, is_first=True)
    assert ["no UIDL" in line and "leave_on_server = false" in line for line in lines] == [True] * is_told


@pytest.mark.parametrize(
    ("leave", "is_first", "count", "is_told"),
    [
        (None, True, 2, True),
        (14 * DAY, True, 2, True),
        (timedelta(0), True, 2, False),
        (None, False, 2, False),
        (None, True, 0, False),
    ],
)
def test_the_first_look_at_mail_that_stays_offers_to_adopt_it(
    leave: timedelta | None, is_first: bool, count: int, is_told: bool
) -> None:
    expected = "2 messages are there already; 'pop3connector accounts adopt sales' marks them as had"
    assert told(foreseen(*[Fate.NEW] * count), leave=leave, is_first=is_first) == [expected] * is_told


def test_stat_that_disagrees_is_told_of() -> None:
    sight = Sight(tls=TLS, is_trusted=True, capabilities=NO_CAPA, size=MaildropSize(count=5, octets=0), has_uidl=True)
    assert told(foreseen(Fate.NEW), sight=sight) == ["STAT counts 5 messages, LIST shows 1"]


def test_a_doubt_is_told_with_its_reason() -> None:
    (line,) = told(foreseen(Fate.COMPARE), doubt="kept messages vanished")
    assert "kept messages vanished" in line


@pytest.mark.parametrize(
    ("oversize", "what"), [(Oversize.LEAVE, "stay at the provider"), (Oversize.BADMAIL, "go to Badmail")]
)
def test_oversize_messages_are_counted_with_the_limit_and_where_it_comes_from(oversize: Oversize, what: str) -> None:
    messages = [*foreseen(Fate.OVERSIZE, octets=2000), *foreseen(Fate.OVERSIZE, octets=3000), *foreseen(Fate.NEW)]
    assert told(messages, oversize=oversize) == [
        f"2 messages are over the limit of 1000 octets (SIZE of the relay) and {what}; the largest has 3000"
    ]


def test_oversize_messages_that_the_server_will_delete_are_in_danger() -> None:
    _, line = told(foreseen(Fate.OVERSIZE, octets=2000), capa="EXPIRE 30")
    assert "after 30 days" in line


@pytest.mark.parametrize(("fate", "word"), [(Fate.WAITING, "size limit"), (Fate.BROKEN, "broke sessions")])
def test_what_waits_and_what_is_broken_is_counted(fate: Fate, word: str) -> None:
    (line,) = told(foreseen(fate, fate))
    assert line.startswith("2 ")
    assert word in line


@pytest.mark.parametrize(("ambiguous", "follows"), [(Ambiguous.RESEND, "gets mail twice"), (Ambiguous.HOLD, "is held")])
def test_too_little_patience_for_the_final_dot_is_warned_of(ambiguous: Ambiguous, follows: str) -> None:
    """RFC 5321 section 4.5.3.2.6: 10 minutes."""
    settings = default_settings(Path("/"))
    hasty = replace(
        settings,
        smtp=replace(settings.smtp, final_dot_timeout=timedelta(seconds=599)),
        submit=replace(settings.submit, ambiguous=ambiguous),
    )
    (line,) = settings_advice(hasty)
    assert line.startswith("smtp.final_dot_timeout is 599 s, less than the ten minutes")
    assert line.endswith(follows)


def test_the_default_patience_needs_no_warning() -> None:
    assert settings_advice(default_settings(Path("/"))) == ()
