"""Kraken's dialect: bytes and a time go in, events and bytes come out. No socket, no clock, no ring.

connection                    what every WebSocket session has: envelopes, status, liveness, errors, retries
public, private, trading      the three sessions, with their messages and requests
rest                          requests to REST, their signatures, and what the replies say
"""
