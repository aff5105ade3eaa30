"""Turn a valid file into `Settings`: defaults that depend on other keys are settled here, and paths made absolute."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.grammar import is_loopback
from pipeline.config.models import AccountTable, Configuration, PickupTable, SmtpTable, WithPassword, WithTls
from stages.passwords import PasswordCommand, PasswordCredential, PasswordFile, PasswordSource, PasswordVariable
from stages.settings import (
    AccountSettings,
    FetchSettings,
    PickupSettings,
    Settings,
    SmtpSettings,
    SpoolSettings,
    SubmitSettings,
    TlsMode,
    ValidateSettings,
)
from stages.trust import Trust


def resolve(file: Configuration, base: Path) -> Settings:
    """The settings of a file whose relative paths start at `base`."""
    return Settings(
        spool=SpoolSettings(
            directory=base / file.spool.directory,
            min_free_octets=file.spool.min_free_space,
            history=file.spool.history,
        ),
        smtp=_smtp(file.smtp, base),
        fetch=FetchSettings(
            max_messages_per_session=file.fetch.max_messages_per_session,
            max_message_octets=file.fetch.max_message_size,
            oversize=file.fetch.oversize,
            timeout=file.fetch.timeout,
            session_timeout=file.fetch.session_timeout,
            concurrency=file.fetch.concurrency,
            per_host=file.fetch.per_host,
        ),
        validate=ValidateSettings(
            invalid_reverse_path=file.validate_.invalid_return_path,
            max_hops=file.validate_.max_hops,
            default_domain=file.smtp.default_domain,
        ),
        submit=SubmitSettings(
            retry_initial=file.submit.retry_initial,
            retry_max=file.submit.retry_max,
            queue_lifetime=file.submit.queue_lifetime,
        ),
        pickup=_pickup(file.pickup, file.accounts),
        accounts=tuple(_account(account, file, base=base) for account in file.accounts),
    )


def _smtp(table: SmtpTable, base: Path) -> SmtpSettings:
    return SmtpSettings(
        host=table.host,
        port=table.port,
        tls=table.tls or (TlsMode.NONE if is_loopback(table.host) else TlsMode.STARTTLS),
        trust=_trust(table, base),
        username=table.username,
        password=_password(table, base) if table.username else None,
        timeout=table.timeout,
        final_dot_timeout=table.final_dot_timeout,
        connections=table.connections,
        max_protocol_errors=table.max_protocol_errors,
    )


def _pickup(table: PickupTable, accounts: list[AccountTable]) -> PickupSettings:
    own = (_domain_of(address) for account in accounts for address in account.deliver_to)
    return PickupSettings(
        settle=table.settle,
        owner_uids=table.owners,
        accept_domains=frozenset(table.accept_domains or own),
    )


def _account(table: AccountTable, file: Configuration, *, base: Path) -> AccountSettings:
    return AccountSettings(
        name=table.name,
        host=table.host,
        port=table.port or (995 if table.tls is TlsMode.IMPLICIT else 110),
        tls=table.tls,
        trust=_trust(table, base),
        auth=table.auth,
        username=table.username,
        password=_password(table, base),
        deliver_to=table.deliver_to,
        default_domain=file.smtp.default_domain or _domain_of(table.deliver_to[0]),
        interval=table.interval or file.fetch.interval,
        leave_on_server=table.leave_on_server,
        enabled=table.enabled,
    )


def _trust(table: WithTls, base: Path) -> Trust:
    return Trust(
        ca_file=_absolute(table.ca_file, base),
        fingerprints=table.tls_fingerprint,
        min_version=table.tls_min_version,
        certificate=_absolute(table.tls_certificate, base),
        key=_absolute(table.tls_key, base),
    )


def _password(table: WithPassword, base: Path) -> PasswordSource:
    if table.password_file is not None:
        return PasswordFile(base / table.password_file)
    if table.password_env is not None:
        return PasswordVariable(table.password_env)
    if table.password_command is not None:
        return PasswordCommand(table.password_command)
    if table.password_credential is not None:
        return PasswordCredential(table.password_credential)
    assert table.password is not None  # noqa: S101 - `crosschecks` let exactly one of the five through
    return table.password


def _absolute(path: str | None, base: Path) -> Path | None:
    return base / path if path is not None else None


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2]
