"""Why an order, or a change of one, is not taken: a sentence for people, and its kind for
programs.

The same kinds serve the engine's own checks and Kraken's errors, so a program that asks
whether it may try again need not know who said no.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class ErrorKind(StrEnum):
    """What an error is about; it decides what a program does next."""

    ARGUMENT = "argument"
    """Invalid argument; resending it unchanged cannot succeed."""
    PRECISION = "precision"
    """A price that is not on the pair's tick, or a quantity that is not on its step."""
    MINIMUM = "minimum"
    """Less than the pair's minimum quantity or cost."""
    DUPLICATE = "duplicate"
    """The same order, or the same client order id, is there already."""
    FUNDS = "funds"
    """The free balance is too small: lower the quantity, or cancel other orders."""
    MARGIN = "margin"
    """Kraken gives no margin for it."""
    LIMIT = "limit"
    """A limit of our own, under [risk]: of size, position, pairs."""
    PRICE = "price"
    """Too far from the market, or there is no price to compare with."""
    SELF_TRADE = "self_trade"
    """It would trade with an order of the same account."""
    POST_ONLY = "post_only"
    """It may only make, and its price would have taken: quote further from the market."""
    REDUCE_ONLY = "reduce_only"
    """It may only make a margin position smaller, and there is none to reduce."""
    ORDER_LIMIT = "order_limit"
    """Too many open orders."""
    RATE_LIMIT = "rate_limit"
    """The matching engine's rate counter of the pair is full, or orders come faster than
    our own limit."""
    CALL_LIMIT = "call_limit"
    """Too many REST calls or messages: wait, then send fewer."""
    NOT_OPEN = "not_open"
    """The order that was to be changed is not open."""
    UNCHANGED = "unchanged"
    """The order that was to be changed stays as it is."""
    BUSY = "busy"
    """An amend or a cancel of the order is under way, or too much waits already."""
    CANCEL_PENDING = "cancel_pending"
    """A cancel of the order is under way: wait for it."""
    CANCELED = "canceled"
    """Canceled before it was sent."""
    NOT_TRADING = "not_trading"
    """No orders are taken now: trading is halted, a connection is out, a strategy has
    ended."""
    MARKET_DATA = "market_data"
    """The book or the rules of the pair are not known well enough."""
    MARKET_MODE = "market_mode"
    """Kraken takes no orders of this kind on the pair now."""
    IN_DOUBT = "in_doubt"
    """It is not known yet what became of another order."""
    SERVICE = "service"
    """A failure on Kraken's side; it counts for the circuit breaker."""
    DEADLINE = "deadline"
    """It came too late."""
    AUTH = "auth"
    """Wrong key or signature; no call can succeed."""
    PERMISSION = "permission"
    """The key lacks the permission."""
    ACCOUNT = "account"
    """The account is not allowed to do this."""
    NONCE = "nonce"
    """The nonce is not above the key's last one: another program uses the key."""
    TOKEN = "token"
    """A new WebSocket token is needed."""
    LOCKOUT = "lockout"
    """The key is locked out for fifteen minutes; any call prolongs it."""
    SUBSCRIBED = "subscribed"
    """The channel is subscribed already."""
    TRANSPORT = "transport"
    """Kraken's application did not answer."""
    UNKNOWN = "unknown"
    """The engine does not know this error of Kraken's."""

    @property
    def is_final(self) -> bool:
        """True if the same order cannot be taken later either: the order, the account or
        the settings must change first.
        """
        return self in _FINAL


TROUBLE: Final = (ErrorKind.SERVICE, ErrorKind.TRANSPORT)  # these count for the circuit breaker

_K = ErrorKind
_FINAL: Final = frozenset((
    _K.ARGUMENT, _K.PRECISION, _K.MINIMUM, _K.DUPLICATE, _K.FUNDS, _K.MARGIN, _K.LIMIT, _K.REDUCE_ONLY, _K.NOT_OPEN,
    _K.UNCHANGED, _K.CANCELED, _K.AUTH, _K.PERMISSION, _K.ACCOUNT,
))  # fmt: skip


class Refusal(NamedTuple):
    """Why a request is not carried out."""

    kind: ErrorKind
    text: str
    """A sentence in lower case without a full stop, which names the place and the mend."""

    def within(self, beginning: str) -> "Refusal":
        """The same refusal, with text before its sentence."""
        return Refusal(self.kind, f"{beginning}{self.text}")


class RefusedError(ValueError):
    """A request that cannot be carried out as it is; a ValueError that knows its kind."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal


def refusal_of(error: ValueError) -> Refusal:
    """The refusal behind an error; of the kind ARGUMENT where the error has none."""
    return error.refusal if isinstance(error, RefusedError) else Refusal(ErrorKind.ARGUMENT, str(error))
