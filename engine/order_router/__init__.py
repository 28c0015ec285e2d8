"""The order router's process: owns orders, journal, risk, rate counters, the API key and
the dead man's switch.

`core` decides, and is pure; `shell` builds it over real ports, `router` is the duty cycle,
and `process` runs it.
"""
