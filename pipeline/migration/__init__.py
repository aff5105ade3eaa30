"""What other fetchers' files say, as ours: their accounts, and the UIDLs that they had.

Each parser takes the text of a file and answers `Theirs`: the POP3 maildrops in it and, line by line, what of it has no
counterpart here. `seen` reads their lists of UIDLs. Nothing here reads a file, runs a command of theirs, or writes.
"""
