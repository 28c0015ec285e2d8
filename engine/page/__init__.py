"""The page: a running engine in the browser, read-only, served on loopback by a process of
its own.
"""
