"""`engine watch`: the books and trades of some pairs, as they come.

Runs in an engine of its own, of which it is the only strategy; owns what is drawn of it.
"""
