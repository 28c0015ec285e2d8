"""What the engine's processes share: launch data, the runner, and formats that cross
processes.
"""
