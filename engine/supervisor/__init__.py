"""Runs in the engine process: starts, restarts and stops the actors, and reports their
state.
"""
