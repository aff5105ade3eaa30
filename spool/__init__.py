"""The durable store: message bytes in files, an index of them in SQLite; synchronous, no network.

What the stages and the pipeline use of it:

    open_spool, take_stage          be somebody here            `opening`
    Admission                       bytes durable, then a row   `admission`
    recover, collect, prune         at start, and now and then  `recovery`, `retention`
    Staging                         staged to ready             `staging`
    Outbox                          ready to submitted          `claims`
    Ledger, Accounts, Route         what is known outside       `ledger`, `accounts`, `route`

**Invariants** (I1 to I7 of the design): no receipt without synced bytes and a committed row; every live row has its
bytes; states change by the table in `states` alone; no message ends without an event and a journal line.
"""
