"""A Kraken-faithful exchange on loopback: what newcomers run first and what tests trade against.

It shares no encode or decode code with `engine.kraken`: it writes and reads its own text, so that one bug cannot
hide another. Frames captured from the real Kraken are the judge of both.

                                history (before it opened)
                                   ▼
    order_flow ──► matching ──► book_feed, candles, day ──► pair_market ──► exchange ─┐
    (seeded)       (pure)       (what the public sees)      (frames)        (turns)   ├─► public ───► server
                                                            capture, playback ────────┘   (protocol)  (sockets)

`engine.venue.core` is all of it without a socket, by a clock and timers that it is handed: a simulation drives it.
`engine.venue.server` has the doors: `serve(settings, ready, stop)` and, for tests, `Venue(settings)`.
"""
