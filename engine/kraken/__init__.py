"""Kraken's dialect: bytes and a time go in, events and bytes come out. No socket, no clock,
no ring.

connection                    shared by the sessions: envelopes, status, liveness, errors
public, private, trading      the three sessions, with their messages and requests
rest                          requests to REST, their signatures, and their replies
"""
