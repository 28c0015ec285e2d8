"""A template of `engine new`."""
