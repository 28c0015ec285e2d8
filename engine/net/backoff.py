"""The wait before the next connection attempt, as a pure function of time and chance.

Kraken: "random disconnects: reconnect instantly a handful of times; after maintenance: at
least 5 seconds between attempts",
https://docs.kraken.com/exchange/guides/websockets/reconnection

    connection dropped, 1st to 3rd time in a row     at once
    after that, and whenever connecting fails        0 to 0.5 s, 0 to 1 s, 0 to 2 s … 0 to 30 s (as configured)
    connection was healthy for 30 s                  as at the start

The wait is drawn from the whole range ("full jitter"), so that clients which lost their
connections together do not return together.
"""

from random import Random

from engine.units import NS_PER_MS, NS_PER_S, MonoNs

FIRST_CEILING_NS = 500 * NS_PER_MS  # a server that restarts needs about that long
CEILING_NS_MAX = 30 * NS_PER_S  # 15 s on average: 40 attempts per 10 minutes, far inside the budget of 150
FACTOR = 2.0  # of one ceiling to the next
INSTANT_RETRIES_MAX = 3  # Kraken's "handful"
HEALTHY_NS = 30 * NS_PER_S  # long enough for every subscription to have been confirmed


class Backoff:
    """The waits of one connection. `random` is the only source of chance, so a seed repeats
    them.
    """

    def __init__(
        self,
        random: Random,
        *,
        first_ceiling_ns: int = FIRST_CEILING_NS,
        ceiling_ns_max: int = CEILING_NS_MAX,
        factor: float = FACTOR,
        instant_retries_max: int = INSTANT_RETRIES_MAX,
        healthy_ns: int = HEALTHY_NS,
    ) -> None:
        self._random = random
        self._first_ceiling_ns = first_ceiling_ns
        self._ceiling_ns_max = ceiling_ns_max
        self._factor = factor
        self._instant_retries_max = instant_retries_max
        self._healthy_ns = healthy_ns
        # When the connection was opened; None while there is none.
        self._opened_at: MonoNs | None = None
        # Drops that may still be answered at once. Full again after a healthy connection.
        self._instant_retries_left = instant_retries_max
        # Waits drawn since the last healthy connection; the ceiling grows with each.
        self._waits = 0

    def opened(self, now: MonoNs) -> None:
        """Record that a connection is open."""
        self._opened_at = now

    def retry_at(self, now: MonoNs, floor_ns: int = 0) -> MonoNs:
        """Record that the connection ended or failed; returns when to try again, at `now +
        floor_ns` or later.
        """
        opened_at, self._opened_at = self._opened_at, None
        if opened_at is not None and now - opened_at >= self._healthy_ns:
            self._waits = 0
            self._instant_retries_left = self._instant_retries_max
        if opened_at is not None and floor_ns == 0 and self._instant_retries_left > 0:
            self._instant_retries_left -= 1
            return now
        return MonoNs(now + floor_ns + self._draw())

    def _draw(self) -> int:
        ceiling = min(self._ceiling_ns_max, int(self._first_ceiling_ns * self._factor ** min(self._waits, 32)))
        self._waits += 1
        return int(self._random.random() * ceiling)
