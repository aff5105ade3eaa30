"""POP3 as a client: RFC 1939, with CAPA (RFC 2449), response codes (RFC 2449, 3206) and STLS (RFC 2595).

`protocol` is the sans-I/O core, `commands` what we say, `replies` and `auth` pure functions about what was said,
`conversation` the driver over a connection, `retrieval` the window of RETRs that stays in step, `client` the face
that the fetch stage sees.
"""
