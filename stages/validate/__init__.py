"""Validate: decide what a staged message needs before it may be submitted, or why it may not be.

The rules are pure: `reverse_path` finds the sender of the envelope, `checks` finds loops and what the relay must be
able to take.
"""
