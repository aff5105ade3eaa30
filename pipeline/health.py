"""How the connector is: stages, accounts, queue, route and limits as values, for `status` and whatever watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from spool import queries
from spool.accounts import Accounts, AccountState, Left, Why
from spool.opening import Spool
from spool.queries import StageRecord, StateTotal
from spool.route import Route, RouteState
from spool.states import State
from stages.fetch.limits import limit_of, size_trap
from stages.fetch.plan import BREAKS_AT_MOST
from stages.settings import AccountSettings, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHealth:
    """An account of the configuration, and what its polls came to.

    `left` is what stays at the provider, for its size or because its sessions broke; `oversize` counts the former.
    """

    name: str
    is_enabled: bool
    last_success_at: datetime | None
    last_error: str | None
    failures: int
    next_poll_at: datetime | None
    remote_messages: int | None
    oversize: int
    left: Sequence[Left]
    interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits in force. `max_message_octets` None: no limit is known; `says_who` is where it comes from."""

    max_message_octets: int | None
    says_who: str
    warning: str | None
    min_free_octets: int
    free_octets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Everything at one moment."""

    stages: Sequence[StageRecord]
    accounts: Sequence[AccountHealth]
    queue: Mapping[State, StateTotal]
    route: RouteState
    limits: Limits
    ignored_in_pickup: int


def health(
    spool: Spool, settings: Settings, *, totals: Callable[[Spool], Mapping[State, StateTotal]] = queries.totals
) -> Health:
    """Look at the spool, as this configuration has it; `totals` counts its messages. Raises SpoolError."""
    accounts = Accounts(spool)
    states, left = accounts.states(), accounts.left_by_account()
    route = Route(spool).state()
    return Health(
        stages=queries.stage_records(spool),
        accounts=[
            _account(account, states.get(account.name), left=left.get(account.name, ()))
            for account in settings.accounts
        ],
        queue=totals(spool),
        route=route,
        limits=_limits(settings, route, free_octets=spool.free_octets()),
        ignored_in_pickup=queries.ignored_in_pickup(spool),
    )


def _account(account: AccountSettings, state: AccountState | None, *, left: Sequence[Left]) -> AccountHealth:
    known = state or AccountState(name=account.name)
    stays = [one for one in left if one.why is Why.OVERSIZE or one.breaks >= BREAKS_AT_MOST]
    return AccountHealth(
        name=account.name,
        is_enabled=account.enabled,
        last_success_at=known.last_success_at,
        last_error=known.last_error,
        failures=known.failures,
        next_poll_at=known.next_poll_at,
        remote_messages=known.remote_messages,
        oversize=sum(one.why is Why.OVERSIZE for one in stays),
        left=stays,
        interval=account.interval,
    )


def _limits(settings: Settings, route: RouteState, *, free_octets: int) -> Limits:
    largest = limit_of(settings.fetch.max_message_octets, route)
    return Limits(
        max_message_octets=largest.octets,
        says_who=largest.source,
        warning=size_trap(settings.fetch.max_message_octets, route.size_octets),
        min_free_octets=settings.spool.min_free_octets,
        free_octets=free_octets,
    )
