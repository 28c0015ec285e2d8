"""Code that every process of the engine shares: a child's launch, its runner, and small
messages between two.
"""
