"""What every WebSocket session shares: envelopes and status, liveness, errors, and when to
ask again.
"""
