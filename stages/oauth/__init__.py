"""OAuth 2.0: get, keep and renew the access tokens that accounts log in with (RFC 6749, RFC 8628).

`tokens` is what is kept of an account and when it is due, `grants` what is sent to a provider and what its answer
means, `endpoint` one request, `keeper` the whole: the account's file, its lock, and the renewal. `device` is the login
of a person on another device.

Everything here blocks and belongs into a thread. `oauthlib` and `h11` are imported with it, so import it only where a
token is needed.
"""
