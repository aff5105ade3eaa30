"""Poll maildrops and take custody of their messages: had or new, in step, and no DELE without a receipt.

`plan` decides from a listing and the ledger what becomes of each message, `had` whether content that came is known;
`session` carries a plan out over one POP3 session, `custody` commits in groups what all sessions receive,
`trouble` says what an error means, `pacing` when to try again, `schedule` and `polling` whose turn it is; `stage` is
the process.
"""
