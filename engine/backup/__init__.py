"""Copies of an engine's state directory: made while it trades, and put back where none is."""
