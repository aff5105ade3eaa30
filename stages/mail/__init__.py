"""What is known about mail itself: header fields, addresses, and the trace field that we add.

Pure functions over octets, shared by the stages. They never raise on what a sender wrote, and their time is linear in
its length.
"""
