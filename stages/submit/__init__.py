"""Submit ready messages to the relay: what a reply means, when to try again, when to leave the relay alone.

`verdict`, `tallies`, `circuit` and `retry` decide and are pure; sessions and the stage carry their decisions out.
"""
