"""Seeded faults of the frames from the venue to one connection.

    KIND=RATE[@SYMBOL]      each outgoing data frame (of that symbol) suffers it with this probability
    KIND@SECONDS[@SYMBOL]   once on every connection of a side then open, that long after the first one to it

The kinds of `KINDS` change the frames of public connections; those of `private_faults`
apply to trading requests. The venue's own books never change by them. Each connection has
its own generator, seeded with the venue's seed and the connection's number, so two numbers
reproduce a failure.
"""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from random import Random
from typing import Final, Protocol

from engine.errors import ConfigError
from engine.venue.market.pairs import named
from engine.venue.market.precision import DECIMALS_MAX
from engine.venue.setup.settings import FaultSpec
from engine.venue.websocket.private_faults import PRIVATE_KINDS
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start, text_frame

KINDS: Final = {
    "corrupt": "one digit of a price or quantity in a book update is another",
    "badcrc": "a book frame tells a wrong checksum",
    "drop": "a frame is not sent",
    "duplicate": "a frame is sent twice",
    "repeat": "a message of trades is sent twice",
    "withhold": "a message of trades is not sent, though REST tells them",
    "cut": "the TCP connection is reset, without a close frame",
    "silent": "nothing is ever sent again, heartbeats included, the socket stays open",
    "mute": "one channel of one symbol falls silent until it is subscribed again",
    "noise": "a text frame that is not JSON comes before",
    "unknown": "a frame of a channel that nobody knows comes before",
    "close": "close:CODE, a close frame with that code",
    "maintenance": "maintenance, cancel_only, post_only, online, with books that hardly move meanwhile",
    "precision": "precision:PRICExQTY@SECONDS@SYMBOL, the pair has so many decimals from then on (precision:2x8)",
}

# Received as a payload from the real Kraken; it breaks parsers that trust their input.
NOISE_FRAME: Final = text_frame("CloudFlare WebSocket proxy restarting")
UNKNOWN_FRAME: Final = text_frame('{"channel":"weather","type":"update","data":[{"symbol":"BTC/USD","sky":"clear"}]}')

_DIGITS: Final = re.compile(rb'(?<="price":)[0-9.]+|(?<="qty":)[0-9.]+')
_CHECKSUM: Final = re.compile(rb'(?<="checksum":)[0-9]+')


def parse_fault(text: str) -> FaultSpec:
    """Parse one fault of the command line: `corrupt=0.001@BTC/USD`, `cut@5`,
    `close:1012=0.0001`.
    """
    match = re.fullmatch(r"([a-z][a-z0-9-]*)(?::(\w+))?(?:=([^@]*)|@([^@]*))(?:@(.+))?", text)
    if match is None:
        raise ConfigError(f"--fault {text}: write KIND=RATE[@SYMBOL] or KIND@SECONDS[@SYMBOL], such as corrupt=0.001")
    kind, code_text, rate_text, at_text, symbol = match.groups()
    kinds = [*KINDS, *PRIVATE_KINDS]
    if kind not in kinds:
        near = get_close_matches(kind, kinds, n=1)
        mend = f"use {near[0]}" if near else f"the kinds are {', '.join(kinds)}"
        raise ConfigError(f"--fault {text}: there is no fault {kind!r}: {mend}")
    if kind == "precision":
        return _precision(text, code_text or "", at_text, symbol)
    if (kind == "close") != (code_text is not None):
        raise ConfigError(f"--fault {text}: close needs a code and is alone in having one, such as close:1012@5")
    code = _number(text, code_text, 1000, 4999) if code_text is not None else 0
    if code in (1004, 1005, 1006, 1015):
        raise ConfigError(f"--fault {text}: {code:g} may not be sent in a close frame, use another such as 1012")
    if rate_text is not None:
        return FaultSpec(kind, rate=_number(text, rate_text, 0, 1), symbol=symbol, close_code=int(code))
    return FaultSpec(kind, at_s=_number(text, at_text, 0, 1e9), symbol=symbol, close_code=int(code))


def _precision(text: str, decimals: str, at_text: str | None, symbol: str | None) -> FaultSpec:
    match = re.fullmatch(r"(\d{1,2})x(\d{1,2})", decimals)
    if match is None or at_text is None or symbol is None:
        raise ConfigError(
            f"--fault {text}: write precision:PRICExQTY@SECONDS@SYMBOL with decimals of prices and of quantities, such "
            "as precision:2x8@5@BTC/USD"
        )
    if max(int(match[1]), int(match[2])) > DECIMALS_MAX:
        raise ConfigError(f"--fault {text}: decimals are from 0 to {DECIMALS_MAX}")
    at_s = _number(text, at_text, 0, 1e9)
    return FaultSpec("precision", at_s=at_s, symbol=symbol, decimals=(int(match[1]), int(match[2])))


def check_symbols(specs: Iterable[FaultSpec], listed: Collection[str]) -> None:
    """Raise ConfigError for a fault of a pair that is not listed: it would never occur."""
    for spec in specs:
        if spec.symbol is not None and spec.symbol not in listed:
            raise ConfigError(f"--fault {spec.kind} of {spec.symbol}: the venue lists {named(tuple(listed))}")


def frame_faults(specs: Iterable[FaultSpec]) -> tuple[FaultSpec, ...]:
    """The faults that apply to frames of public connections."""
    return tuple(spec for spec in specs if spec.kind in KINDS)


def _number(place: str, text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise ConfigError(f"--fault {place}: {text!r} must be a number from {low:g} to {high:g}")
    return number


class FaultTarget(Protocol):
    """What a fault can do to a connection, besides changing a frame."""

    def reset(self) -> None: ...

    def close(self, code: int) -> None: ...

    def fall_silent(self) -> None: ...

    def begin_maintenance(self) -> None: ...


class FaultLine:
    """The faults of one connection; every data frame passes through it."""

    def __init__(
        self, specs: Iterable[FaultSpec], seed: int, connection_number: int, target: FaultTarget, counts: dict[str, int]
    ) -> None:
        self._rated = [(spec, spec.rate) for spec in specs if spec.rate is not None]
        self._armed: list[FaultSpec] = []  # timed ones that are due and wait for a fitting frame
        self._muted: set[StreamKey] = set()
        self._rng = Random(f"{seed} faults of connection {connection_number}")
        self._target = target
        self._counts = counts  # occurrences of each kind, on all connections together

    def arm(self, spec: FaultSpec) -> None:
        """Apply a timed fault: to the connection at once, to a frame when the next fitting
        one is sent.
        """
        if spec.kind in ("cut", "silent", "close", "maintenance"):
            self._strike(spec, StreamKey("", ""), b"")
        else:
            self._armed.append(spec)

    def clear(self) -> None:
        """End all faults; a muted stream stays muted until it is subscribed again."""
        self._rated.clear()
        self._armed.clear()

    def unmute(self, key: StreamKey) -> None:
        """End the muting of a stream, on a new subscription."""
        self._muted.discard(key)

    def spoil(self, key: StreamKey, frame: bytes) -> list[bytes]:
        """The frames to send instead of this one: usually itself alone."""
        frames = [frame]
        if self._armed:
            fitting = [spec for spec in self._armed if _fits(spec, key, frame)]
            for spec in fitting:
                self._armed.remove(spec)
                frames = [other for frame in frames for other in self._strike(spec, key, frame)]
        for spec, rate in self._rated:
            if self._rng.random() < rate and _fits(spec, key, frame):
                frames = [other for frame in frames for other in self._strike(spec, key, frame)]
        return [] if key in self._muted else frames

    def _strike(self, spec: FaultSpec, key: StreamKey, frame: bytes) -> list[bytes]:
        kind = spec.kind
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind == "corrupt":
            return [self._other_digit(frame, list(_DIGITS.finditer(frame, payload_start(frame))))]
        if kind == "badcrc":
            return [self._other_digit(frame, list(_CHECKSUM.finditer(frame)), last=True)]
        if kind in ("drop", "withhold"):
            return []
        if kind in ("duplicate", "repeat"):
            return [frame, frame]
        if kind == "noise":
            return [NOISE_FRAME, frame]
        if kind == "unknown":
            return [UNKNOWN_FRAME, frame]
        if kind == "mute":
            self._muted.add(key)
            return []
        if kind == "cut":
            self._target.reset()
        elif kind == "silent":
            self._target.fall_silent()
        elif kind == "close":
            self._target.close(spec.close_code)
        elif kind == "maintenance":
            self._target.begin_maintenance()
            return [frame]
        return []

    def _other_digit(self, frame: bytes, numbers: list[re.Match[bytes]], last: bool = False) -> bytes:
        """Change a digit in one of the numbers, never to a leading zero: the frame stays
        JSON of the same length.
        """
        places = [
            place for number in numbers for place in range(number.start(), number.end()) if frame[place] != ord(".")
        ]
        if not places:
            return frame
        place = places[-1] if last else places[int(self._rng.random() * len(places))]
        digit = self._rng.choice([digit for digit in b"123456789" if digit != frame[place]])
        return frame[:place] + bytes((digit,)) + frame[place + 1 :]


def _fits(spec: FaultSpec, key: StreamKey, frame: bytes) -> bool:
    """True if this fault can apply to this frame."""
    if spec.symbol is not None and spec.symbol != key.symbol:
        return False
    if spec.kind in ("repeat", "withhold"):
        return key.channel == "trade" and b'"type":"update"' in frame[:64]
    if spec.kind == "badcrc":
        return key.channel == "book"
    if spec.kind == "corrupt":
        # Only fields of an update: a client cannot check a snapshot before the checksum of
        # the next update.
        return key.channel == "book" and b'"type":"update"' in frame[:64]
    return True
