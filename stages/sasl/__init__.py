"""SASL mechanisms as a client: RFC 4422, for whatever protocol carries them.

`exchange` is the contract between a protocol and a mechanism, `mechanisms` makes one by its name; `passwords`, `scram`,
`ntlm` and `bearer` are the mechanisms. Challenges and responses are octets; how they are sent and cancelled is the
protocol's business (POP3: RFC 5034, SMTP: RFC 4954). Both encode them as `encoding` does, and choose by `credentials`.
"""
