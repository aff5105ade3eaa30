"""The demonstration: servers of our own on loopback, sample mail, and the real pipeline between them.

Nothing here runs in production. The servers are honest ones, small enough to read at once; what is dishonest in a mail
server lives beside the tests that need it.
"""
