"""The venue's set-up: its settings, API keys, and rate limits by tier."""
