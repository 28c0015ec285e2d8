"""The engine process: starts the children, gives them their rings, restarts and stops them,
and reports on them.
"""
