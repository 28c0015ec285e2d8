"""The private feed's process: it reads executions and balances, and owns the account ring.

`feed` is the actor, on ports that it is handed; `process` gives it a socket, a clock and
shared memory.
"""
