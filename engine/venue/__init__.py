"""An exchange on loopback that behaves like Kraken: newcomers run it first, and tests trade
against it.

It shares no encoding or decoding code with `engine.kraken`, so that one fault cannot hide
another. Both are checked against frames captured from the real Kraken.

    pairs, listing (made up)    history (before it opened)
                                   ▼
    order_flow ──► matching ──► book_feed, candles, day ──► pair_market ──► exchange ─┐
    (seeded)       (pure)       (what the public sees)      (frames)        (turns)   ├─► public ───► server
                                                            capture, playback ────────┘   (protocol)  (sockets)

`engine.venue.core` is the whole venue without a socket; the clock and timers are passed in,
so a simulation can drive it. `engine.venue.server` adds the sockets: `serve(settings,
ready, stop)` and, for tests, `Venue(settings)`.
"""
