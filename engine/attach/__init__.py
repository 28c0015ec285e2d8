"""A running engine's shared memory, read-only, in another process: what the page and the
metrics are made of.

The engine hands over descriptors once; from then on it does nothing for who reads.
"""
