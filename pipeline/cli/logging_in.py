"""`accounts login`: give the connector a refresh token, with a person's consent on another device.

**Invariants:** the spool's stages may run meanwhile; what is printed is for anybody's eyes.
"""

from __future__ import annotations

import os
import time

from pipeline.cli.naming import account_named
from pipeline.cli.output import shown
from pipeline.endings import CommandFailed, exit_code_of
from pipeline.exit_codes import ExitCode
from spool.opening import utc_now
from spool.token_file import TokenFile
from stages.errors import StageError
from stages.oauth.device import LoginDenied, log_in
from stages.oauth.grants import DeviceCode
from stages.oauth.keeper import Keeper
from stages.settings import OAuth2Client, Settings


def login(settings: Settings, name: str) -> int:
    """Log an account in by the device-code flow (RFC 8628)."""
    account = account_named(settings, name)
    if not isinstance(account.oauth2, OAuth2Client):
        raise CommandFailed(ExitCode.CONFIGURATION, f"account {name}: there is nothing to log in to without oauth2")
    file = TokenFile(settings.spool.directory, name)
    keeper = Keeper(name, account.oauth2, env=os.environ, now=utc_now, file=file)
    try:
        log_in(keeper, show=_show, sleep=time.sleep)
    except StageError as error:
        code = ExitCode.PERMISSION if isinstance(error, LoginDenied) else exit_code_of(error)
        raise CommandFailed(code, f"account {name}: {error}") from error
    print(shown(f"account {name}: logged in; the refresh token is in {file.path}"))
    return ExitCode.OK


def _show(code: DeviceCode) -> None:
    minutes = max(code.lifetime.total_seconds() // 60, 1)
    print(f"open {code.verification_uri} on any device and enter {code.user_code} (within {minutes:g} minutes)")
    print("waiting ...", flush=True)
