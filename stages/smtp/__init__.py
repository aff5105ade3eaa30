"""SMTP as a client speaks it: a sans-I/O core, the values of its replies, and an asyncio driver.

`protocol`, `encoding`, `replies` and `commands` know nothing of the network. `client` opens a session and
carries out transactions; it reports facts and judges none of them.
"""
