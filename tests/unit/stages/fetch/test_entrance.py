"""Nothing is connected for credentials that cannot be sent."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from stages.fetch.entrance import logged_in
from stages.pop3.auth import LoginImpossible
from stages.secret import Secret
from stages.settings import AccountSettings, AuthMethod, TlsMode
from stages.trust import Trust


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"])
@pytest.mark.parametrize("field", ["username", "password"])
def test_no_connection_is_made_for_a_credential_that_breaks_its_line(field: str, octet: str) -> None:
    values = {"username": "alice", "password": "secret"} | {field: f"a{octet}DELE 1"}

    async def enter() -> int:
        connections = 0
        was_called = asyncio.Event()

        def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            was_called.set()
            writer.close()

        listener = await asyncio.start_server(count, "127.0.0.1", 0)
        async with listener:
            account = AccountSettings(
                name="sales",
                host="127.0.0.1",
                port=listener.sockets[0].getsockname()[1],
                tls=TlsMode.NONE,
                trust=Trust(),
                auth=AuthMethod.AUTO,
                username=values["username"],
                password=Secret(values["password"]),
                deliver_to=("sales@corp.example",),
                default_domain="corp.example",
                interval=timedelta(minutes=5),
                leave_on_server=timedelta(0),
                enabled=True,
            )
            with pytest.raises(LoginImpossible, match=f"^{field}: "):
                async with logged_in(account, timeout=5):
                    pass
            # Whatever was connected before this is accepted before it.
            _, writer = await asyncio.open_connection("127.0.0.1", account.port)
            writer.close()
            await was_called.wait()
        return connections

    assert asyncio.run(enter()) == 1
