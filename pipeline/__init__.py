"""Running the connector: configuration, processes, schedule, commands.

`pipeline` stands on `stages`, which stand on `spool`; nothing points back.
"""

__version__ = "1.0.0.dev0"
