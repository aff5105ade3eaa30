"""The configuration: one TOML file, checked whole, turned into the `Settings` that stages take.

`load` finds and reads the file, `parse` checks its text alone, `find` says which file it would be. Each problem is a
line that begins with its path (`accounts[2].port: ...`, counted from 0), and all of them are reported at once in a
`ConfigurationError`.
"""

from pipeline.config.errors import ConfigurationError
from pipeline.config.loading import find, load, parse

__all__ = ["ConfigurationError", "find", "load", "parse"]
