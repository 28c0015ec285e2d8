"""The order router's process: it owns orders, journal, risk, rate counters, the API key and the dead man's switch.

`core` decides, and is pure; `shell` puts its ports together, `router` is the duty cycle, `process` runs it.
"""
