"""The whole engine and the venue in one process, under virtual time: `python -m tests.simulate --seeds 1:200`.

No mock of our own code: the simulator is another shell around the same classes, with an event heap for an event loop,
links for sockets, bytearrays for shared memory and files of its own for the disk. See README.md.
"""
