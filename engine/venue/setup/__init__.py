"""How a venue is set up: its settings, API keys, and the rate counters of their tiers."""
