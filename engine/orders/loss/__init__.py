"""The loss of a UTC day, which halts trading at its limit."""
