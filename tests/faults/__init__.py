"""The acceptance table of faults, row by row, on real sockets: each row in its dialects, sync and async."""
