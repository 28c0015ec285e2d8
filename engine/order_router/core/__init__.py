"""The order core, pure: no socket, file, clock, ring, task or await.

`order_core.build` makes it, and `ports` is what it needs of the world. It runs in the order
router's process, in the simulator, and in the tests of what is in doubt.
"""
