"""Commands that look at a running engine from a process of their own: metrics, page."""
