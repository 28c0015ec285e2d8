"""The venue's WebSocket: public and private connections, tokens, faults, playback of
captures.
"""
