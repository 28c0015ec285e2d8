"""The metrics of a running engine for Prometheus, served by a process of its own that reads
the engine's shared memory.
"""
