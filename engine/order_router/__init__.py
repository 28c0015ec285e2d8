"""The order router's process: it owns orders, journal, risk, rate counters, the API key and the dead man's switch.

`assembly` puts its parts together, `process` runs them; `router` is the duty cycle.
"""
