"""What every WebSocket session has in common: envelopes and status, liveness, errors, when
to ask again.
"""
