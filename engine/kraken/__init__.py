"""Kraken's WebSocket v2 dialect: bytes and a time go in, events and bytes come out. No socket, no clock, no ring."""
