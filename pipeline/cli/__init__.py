"""The command line.

What can be typed is declared in `main`, `spool_app` and `badmail_app`; what it does stands in the module that a command
imports when it runs.
"""
