"""Turn a valid file into `Settings`: defaults that depend on other keys are settled here, and paths made absolute."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.grammar import is_loopback
from pipeline.config.models import AccountTable, Configuration, PickupTable, SmtpTable, Table, WithTls
from spool.layout import Layout
from stages.passwords import PasswordCommand, PasswordCredential, PasswordFile, PasswordSource, PasswordVariable
from stages.secret import Secret
from stages.settings import (
    AccountSettings,
    FetchSettings,
    LogSettings,
    Mirror,
    OAuth2Client,
    PickupSettings,
    Settings,
    SmtpSettings,
    SpoolSettings,
    SubmitSettings,
    TlsMode,
    TokenCommand,
    TokenSource,
    ValidateSettings,
)
from stages.trust import Trust

# systemd-journald(8); the socket of syslog(3).
JOURNALD_SOCKET = Path("/run/systemd/journal/socket")
SYSLOG_SOCKET = Path("/dev/log")


def resolve(file: Configuration, base: Path) -> Settings:
    """The settings of a file whose relative paths start at `base`."""
    sources = _Sources(file, base)
    return Settings(
        spool=SpoolSettings(
            directory=base / file.spool.directory,
            min_free_octets=file.spool.min_free_space,
            history=file.spool.history,
        ),
        smtp=_smtp(file, sources, base=base),
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
            bare_newlines=file.submit.bare_newlines,
            max_hops=file.validate_.max_hops,
            default_domain=file.smtp.default_domain,
        ),
        submit=SubmitSettings(
            retry_initial=file.submit.retry_initial,
            retry_max=file.submit.retry_max,
            queue_lifetime=file.submit.queue_lifetime,
            ambiguous=file.submit.ambiguous,
            notify=file.submit.notify,
        ),
        pickup=_pickup(file.pickup, file.accounts),
        log=LogSettings(mirror=file.log.mirror, path=_mirror_path(file, base)),
        accounts=tuple(_account(account, file, sources=sources, base=base) for account in file.accounts),
    )


class _Sources:
    """Where the secrets of a file come from; no command sees the variables that secrets come from."""

    def __init__(self, file: Configuration, base: Path) -> None:
        self._base = base
        logins: list[SmtpTable | AccountTable] = [file.smtp, *file.accounts]
        tables: list[Table] = [*logins, *(one.oauth2 for one in logins if one.oauth2)]
        self._hidden = frozenset(
            value for table in tables for key, value in table if key.endswith("_env") and value is not None
        )

    def of(self, table: Table, name: str) -> PasswordSource | None:
        """The source of a secret, by the one key of it that is given."""
        given = dict(table)
        if isinstance(secret := given[name], Secret):
            return secret
        if (path := given[f"{name}_file"]) is not None:
            return PasswordFile(self._base / path)
        if (variable := given[f"{name}_env"]) is not None:
            return PasswordVariable(variable)
        if (command := given[f"{name}_command"]) is not None:
            return self.command(command)
        if (credential := given[f"{name}_credential"]) is not None:
            return PasswordCredential(credential)
        return None

    def command(self, command: str) -> PasswordCommand:
        """A command that prints a secret."""
        return PasswordCommand(command, self._hidden)


def _smtp(file: Configuration, sources: _Sources, *, base: Path) -> SmtpSettings:
    table = file.smtp
    return SmtpSettings(
        host=table.host,
        port=table.port,
        protocol=table.protocol,
        tls=table.tls or (TlsMode.NONE if is_loopback(table.host) else TlsMode.STARTTLS),
        trust=_trust(table, base),
        auth=table.auth,
        username=table.username,
        password=sources.of(table, "password"),
        oauth2=_oauth2(table, file, sources=sources, base=base),
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


def _mirror_path(file: Configuration, base: Path) -> Path:
    match file.log.mirror:
        case Mirror.JOURNALD:
            return JOURNALD_SOCKET
        case Mirror.SYSLOG:
            return SYSLOG_SOCKET
        case _:
            return _absolute(file.log.file, base) or Layout(base / file.spool.directory).event_lines


def _account(table: AccountTable, file: Configuration, *, sources: _Sources, base: Path) -> AccountSettings:
    return AccountSettings(
        name=table.name,
        host=table.host,
        port=table.port or (995 if table.tls is TlsMode.IMPLICIT else 110),
        tls=table.tls,
        trust=_trust(table, base),
        auth=table.auth,
        username=table.username,
        password=sources.of(table, "password"),
        oauth2=_oauth2(table, file, sources=sources, base=base),
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


def _oauth2(
    login: SmtpTable | AccountTable, file: Configuration, *, sources: _Sources, base: Path
) -> TokenSource | None:
    table = login.oauth2
    if table is None:
        return None
    if table.token_command is not None:
        return TokenCommand(command=sources.command(table.token_command))
    return OAuth2Client(
        grant=table.grant,
        # `crosschecks` made sure of the next two.
        token_endpoint=table.token_endpoint or "",
        device_endpoint=table.device_endpoint,
        client_id=table.client_id or "",
        client_secret=sources.of(table, "client_secret"),
        scope=table.scope or "",
        refresh_token=sources.of(table, "refresh_token"),
        trust=Trust(ca_file=_absolute(table.ca_file, base)),
        spool=base / file.spool.directory,
    )


def _absolute(path: str | None, base: Path) -> Path | None:
    return base / path if path is not None else None


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2]
