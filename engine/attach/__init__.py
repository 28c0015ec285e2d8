"""A running engine's shared memory, read-only, in another process: the source of page and
metrics.

The engine hands over descriptors once, and has no further work for its readers.
"""
