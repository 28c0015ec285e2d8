"""`engine top`: a screen for a running engine, in a process of its own, over its shared
memory. Needs the extra `top`.
"""
