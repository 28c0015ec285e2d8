"""The public feed's process, one a shard: it owns the shard's market ring, board and books.

`feed` is the actor on ports; `process` gives it a socket, a clock and shared memory.
"""
