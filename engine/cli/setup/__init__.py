"""The commands of before a run: a new strategy, keys, settings, and what stands in the way.

Each ends by itself, and none of them needs a running engine.
"""
