"""`status --check`: one line and an exit code, as programs that watch others want them.

The form is that of the monitoring plug-ins: `WORD: text | figures`, where a figure is
`name=value[unit];warning;critical;least`, and 0, 1 or 2 for the worst of all.

**Invariants:** one line on standard output whatever happens, also where there is no configuration or no spool: that is
critical. Nothing from outside ends the line or the text before the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.attention import (
    DEFAULTS,
    Gravity,
    Limit,
    Matter,
    Thresholds,
    attention,
    free_limit,
    limit_of,
    oldest_queued,
    quiet_since,
)
from pipeline.cli.invocation import Invocation
from pipeline.cli.output import shown
from pipeline.config.errors import ConfigurationError
from pipeline.config.grammar import duration, size
from pipeline.endings import CommandFailed, line_of
from pipeline.exit_codes import CheckCode, ExitCode
from pipeline.health import Health, health
from spool.errors import SpoolError
from spool.states import FINAL, State

_NAMED_AT_MOST = 3
_CODES = {Gravity.WARNING: CheckCode.WARNING, Gravity.CRITICAL: CheckCode.CRITICAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The thresholds that were typed, each two figures with a comma between: where a warning begins, and critical."""

    last_success: str | None = None
    queued: str | None = None
    badmail: str | None = None
    free: str | None = None


def check_status(invocation: Invocation, asked: Asked) -> CheckCode:
    """Print the line, and answer the exit code; raises CommandFailed for a threshold that is none."""
    thresholds = _thresholds(asked)
    try:
        settings = invocation.settings()
        with invocation.reading() as spool:
            found, now = health(spool, settings), spool.now()
    except (ConfigurationError, SpoolError, OSError) as error:
        first, _, more = line_of(error).partition("\n")
        print(_line(CheckCode.CRITICAL, f"{first} (and {more.count(chr(10)) + 1} more)" if more else first))
        return CheckCode.CRITICAL
    matters = [matter for matter in attention(found, now=now, thresholds=thresholds) if matter.gravity > Gravity.NOTICE]
    code = _CODES[matters[0].gravity] if matters else CheckCode.WELL
    figures = " ".join(_figures(found, matters, now=now, thresholds=thresholds))
    print(f"{_line(code, _summary(matters) if matters else _well(found))} | {figures}")
    return code


def _line(code: CheckCode, text: str) -> str:
    # What stands behind the first bar is figures.
    return f"{'OK' if code is CheckCode.WELL else code.name}: {shown(text).replace('|', '/')}"


def _summary(matters: Sequence[Matter]) -> str:
    named = "; ".join(matter.what for matter in matters[:_NAMED_AT_MOST])
    return named + (f"; and {len(matters) - _NAMED_AT_MOST} more" if len(matters) > _NAMED_AT_MOST else "")


def _well(found: Health) -> str:
    polled = sum(account.is_enabled for account in found.accounts)
    queued = sum(total.messages for state, total in found.queue.items() if state not in FINAL | {State.BADMAIL})
    return f"{polled} accounts polled, {queued} messages queued, {found.queue[State.BADMAIL].messages} in Badmail"


def _figures(found: Health, matters: Sequence[Matter], *, now: datetime, thresholds: Thresholds) -> Iterator[str]:
    polled = [account for account in found.accounts if account.is_enabled]
    yield f"accounts={len(polled)};;;0"
    yield f"accounts_in_trouble={len({matter.account for matter in matters} - {None})};;;0"
    quiet = [(limit_of(account, thresholds), quiet_since(account, found)) for account in polled]
    ages = [(now - since, limit) for limit, since in quiet if since is not None]
    if ages:
        # Of the account that is nearest to its own limit: each has an interval of its own.
        age, limit = max(ages, key=lambda pair: pair[0].total_seconds() / max(pair[1].warning, 1))
        yield f"last_success={_seconds(age)}s;{_limit(limit)};0"
    for state, total in found.queue.items():
        if state not in FINAL | {State.BADMAIL}:
            yield f"{state}={total.messages};;;0"
    oldest = oldest_queued(found)
    yield f"oldest_queued={_seconds(now - oldest) if oldest else 0}s;{_limit(thresholds.queued)};0"
    yield f"badmail={found.queue[State.BADMAIL].messages};{_limit(thresholds.badmail)};0"
    free = free_limit(found, thresholds)
    # "10:" is trouble below 10 (Monitoring Plugins Development Guidelines, threshold and ranges).
    yield f"free={found.limits.free_octets}B;{free.warning:.0f}:;{free.critical:.0f}:;0"


def _seconds(age: timedelta) -> int:
    return max(int(age.total_seconds()), 0)


def _limit(limit: Limit) -> str:
    return f"{limit.warning:.0f};{limit.critical:.0f}"


def _thresholds(asked: Asked) -> Thresholds:
    return Thresholds(
        last_success=_parsed("--last-success", asked.last_success, read=_age) or DEFAULTS.last_success,
        queued=_parsed("--queued", asked.queued, read=_age) or DEFAULTS.queued,
        badmail=_parsed("--badmail", asked.badmail, read=_count) or DEFAULTS.badmail,
        free=_parsed("--free", asked.free, read=_octets) or DEFAULTS.free,
    )


def _parsed(option: str, text: str | None, *, read: Callable[[str], float]) -> Limit | None:
    if text is None:
        return None
    warning, comma, critical = text.partition(",")
    if not comma:
        raise CommandFailed(ExitCode.USAGE, f"{option}: write two, as WARNING,CRITICAL")
    try:
        return Limit(warning=read(warning.strip()), critical=read(critical.strip()))
    except ValueError as error:
        raise CommandFailed(ExitCode.USAGE, f"{option}: {error}") from None


def _age(text: str) -> float:
    return duration(text).total_seconds()


def _count(text: str) -> float:
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _octets(text: str) -> float:
    return size(int(text) if text.isascii() and text.isdecimal() else text)
