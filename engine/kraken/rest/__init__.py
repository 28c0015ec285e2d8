"""Requests to Kraken's REST API, their signatures, and the meaning of its replies."""
