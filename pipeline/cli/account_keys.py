"""The keys of an account that have an option of their name, in the order in which a new account has them."""

from __future__ import annotations

PASSWORDS = ("password_file", "password_env", "password_command", "password_credential")
KEYS = (
    *("host", "port", "tls", "ca_file", "tls_fingerprint", "auth", "username"),
    *PASSWORDS,
    *("deliver_to", "interval", "leave_on_server"),
)
