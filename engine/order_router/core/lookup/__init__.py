"""What Kraken's REST API is asked about orders: those in doubt, those that a snapshot did
not list, closing orders, and from time to time all that are open.

A part of the order core, and as pure.
"""
