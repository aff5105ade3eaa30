"""The command line.

`main` begins and ends a process. What can be typed is declared in `commands`, `spool_app` and `badmail_app`; what it
does stands in the module that a command imports when it runs.
"""
