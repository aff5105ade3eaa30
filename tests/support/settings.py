"""Settings for tests of the stages: the contract's defaults as values, to be varied with `dataclasses.replace`."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import parse
from stages.settings import AccountSettings, Settings


def default_settings(directory: Path) -> Settings:
    """All defaults, no accounts, the spool at `directory`."""
    return parse(f"[spool]\ndirectory = '{directory}'\n".encode(), directory / "pop3connector.toml")


def account(name: str = "sales") -> AccountSettings:
    """An account at pop.isp.example for sales@corp.example."""
    content = f"""
        [[accounts]]
        name = "{name}"
        host = "pop.isp.example"
        username = "{name}"
        password = "secret"
        deliver_to = "{name}@corp.example"
    """
    return parse(content.encode(), Path("/pop3connector.toml")).accounts[0]
