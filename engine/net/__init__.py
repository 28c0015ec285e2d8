"""I/O shells: what drives a sans-I/O session over a real socket.

websocket   one WebSocket connection that reconnects for ever
backoff     how long to wait before the next attempt            (pure)
budget      how many attempts Kraken's edge allows              (pure)
https       one REST request, one answer, and what a failure proves
key_lock    one signer per API key on this host, and the floor under its nonces
lockout     no calls after Kraken's lockout                     (pure)
resolver    from a host name to a connected socket
tls         the one TLS context we use
traffic     counters of a session's connections                 (pure)
reasons     what went wrong, in one sentence                    (pure)

No module here knows Kraken's messages, the configuration or a ring.
"""
