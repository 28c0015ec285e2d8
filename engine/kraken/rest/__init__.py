"""Requests to Kraken's REST API, their signatures, and what its replies say. For the order router, `engine check`."""
