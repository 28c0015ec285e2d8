"""What each of Kraken's error texts means for the order, and what to do about it.

Texts are matched by their beginning, for Kraken appends details (`EGeneral:Invalid
arguments:volume minimum not met`) and writes a blank after a colon now and then (`EService:
Throttled: 1750000000`). The longest match wins.

A text that nobody has seen proves nothing: an order that met it is in doubt, unless its
category is one that is decided before an order can reach the matching engine.

Source: https://docs.kraken.com/api/docs/guides/spot-errors, corrected by captures and
published clients.
"""

import re
from typing import Final

from msgspec import Struct

from engine.kraken.connection.requests import BOOK_DEPTHS
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.venue_facts import Outcome


class Meaning(Struct, frozen=True):
    """The meaning of one error text."""

    outcome: Outcome
    """What it proves about the order, or about the request for it."""
    kind: ErrorKind
    advice: str
    """What to change, or what happens now: a sentence in lower case without a full stop."""
    is_krakens: bool = True
    """False if the text is not Kraken's: it did not answer, or not so that it can be read."""

    def sentence(self, error: str) -> str:
        """The text, as Kraken's if it is, with the advice."""
        return f"Kraken says {error!r}: {self.advice}" if self.is_krakens else f"{error}; {self.advice}"

    def refusal(self, error: str) -> Refusal:
        """The same, with its kind."""
        return Refusal(self.kind, self.sentence(error))


_NO = Outcome.NOT_PLACED
_DOUBT = Outcome.UNKNOWN
_GONE = Outcome.NOT_OPEN
_K = ErrorKind

_FIX = "the request is wrong, change it before sending it again"
_LOOK_UP = "Kraken had trouble, so it is looked up what became of the order before anything is sent again"

# It comes in frames of other shapes too, so sessions look for it.
MESSAGE_RATE_EXCEEDED: Final = "Exceeded msg rate"
PAIR_NOT_SUPPORTED: Final = Meaning(
    _NO, _K.ARGUMENT, "Kraken has no such pair; write it as BTC/USD (on paper, one of `symbols`)"
)

# By the beginning of the text, blanks after colons taken out.
CATALOG: Final[dict[str, Meaning]] = {
    # the request is wrong
    "EGeneral:Invalid arguments": Meaning(_NO, _K.ARGUMENT, _FIX),
    "EGeneral:Invalid arguments:volume minimum not met": Meaning(
        _NO, _K.MINIMUM, "raise the quantity to the pair's minimum"
    ),
    "EGeneral:Invalid arguments:cl_ord_id": Meaning(
        _NO, _K.ARGUMENT, "a client order id is a UUID, 32 hexadecimal digits or at most 18 characters"
    ),
    "EGeneral:Invalid arguments:cl_ord_id not unique": Meaning(
        Outcome.ALREADY_PLACED, _K.DUPLICATE, "an open order has this id already; it is looked up, and not sent again"
    ),
    "EGeneral:Invalid arguments:Index unavailable": Meaning(
        _NO, _K.ARGUMENT, "this pair has no index price, use the last price as the trigger's reference"
    ),
    "EGeneral:Invalid arguments:deadline": Meaning(
        _NO, _K.ARGUMENT, "it came too late for its deadline, or the clocks differ; ask again"
    ),
    "EGeneral:Invalid arguments:no_mpp": Meaning(_NO, _K.ARGUMENT, "leave no_mpp out, only market orders may have it"),
    "EGeneral:Invalid arguments:ordertype": Meaning(_NO, _K.ARGUMENT, "Kraken has no such order type"),
    "EGeneral:Invalid timeout argument": Meaning(
        _NO, _K.ARGUMENT, "the dead man's switch takes less than 86400 seconds"
    ),
    "EGeneral:Unknown method": Meaning(_NO, _K.ARGUMENT, "Kraken has no such call; check the REST address"),
    "EAPI:Bad request": Meaning(_NO, _K.ARGUMENT, _FIX),
    "EQuery:Unknown asset pair": Meaning(_NO, _K.ARGUMENT, "Kraken has no such pair; write it as BTC/USD"),
    "EQuery:Unknown asset": Meaning(_NO, _K.ARGUMENT, "Kraken has no such asset"),
    "ETrade:Invalid request": Meaning(_NO, _K.ARGUMENT, _FIX),
    "EFunding:Max fee exceeded": Meaning(_NO, _K.ARGUMENT, "this concerns withdrawals, which the engine never makes"),
    "EOrder:Unknown order action": Meaning(_NO, _K.ARGUMENT, "an order's side is buy or sell"),
    "EOrder:Order minimum not met": Meaning(_NO, _K.MINIMUM, "raise the quantity to the pair's minimum"),
    "EOrder:Cost minimum not met": Meaning(_NO, _K.MINIMUM, "raise price × quantity to the pair's minimum cost"),
    "EOrder:Tick size check failed": Meaning(_NO, _K.PRECISION, "round the price to the pair's price increment"),
    "EOrder:Invalid price": Meaning(_NO, _K.ARGUMENT, "the price makes no sense for this order; change it"),
    "EOrder:Invalid limit price": Meaning(
        _NO, _K.UNCHANGED, "this order has no limit price that could be changed; it stays as it is"
    ),
    # of the front end of the WebSocket: nothing of these reached the matching engine
    "Malformed request": Meaning(_NO, _K.ARGUMENT, "Kraken could not read a request; this is a fault of the engine"),
    "Unsupported field": Meaning(_NO, _K.ARGUMENT, "Kraken does not know a field; this is a fault of the engine"),
    "Unsupported event": Meaning(_NO, _K.ARGUMENT, "Kraken has no such method or channel at this address"),
    "Currency pair not supported": PAIR_NOT_SUPPORTED,
    "Subscription depth not supported": Meaning(
        _NO, _K.ARGUMENT, f"set feed.depth to one of {', '.join(map(str, BOOK_DEPTHS))}"
    ),
    "Already subscribed": Meaning(_NO, _K.SUBSCRIBED, "nothing is to be done, the channel is subscribed"),
    "Already subscribed to one ohlc interval": Meaning(_NO, _K.ARGUMENT, "ask for one candle interval only"),
    "Private data and trading are unavailable": Meaning(
        _NO, _K.ARGUMENT, "this channel is not a public one, use another endpoint"
    ),
    "Public market data subscriptions are unavailable": Meaning(
        _NO, _K.ARGUMENT, "set venue.url to the public endpoint, wss://ws.kraken.com/v2"
    ),
    MESSAGE_RATE_EXCEEDED: Meaning(_DOUBT, _K.CALL_LIMIT, "too many messages; send fewer"),
    f"EGeneral:{MESSAGE_RATE_EXCEEDED}": Meaning(_DOUBT, _K.CALL_LIMIT, "too many messages; send fewer"),
    # another order, or the order's own state, is in the way
    "EOrder:Unknown order": Meaning(_GONE, _K.NOT_OPEN, "the order is not open any more, or not yet; it is looked up"),
    "EOrder:Invalid order": Meaning(_GONE, _K.NOT_OPEN, "Kraken never gave this order id; the order is looked up"),
    "EOrder:No amendable parameters specified": Meaning(
        _NO, _K.UNCHANGED, "the amend changes nothing; the order stays as it is"
    ),
    "EOrder:Not enough leaves qty": Meaning(
        _NO, _K.UNCHANGED, "more is filled than the new quantity leaves; the order stays as it is"
    ),
    "EOrder:Order not editable": Meaning(
        _NO, _K.UNCHANGED, "this type of order cannot be edited, amend or cancel it; it stays as it is"
    ),
    "EOrder:Cancel pending": Meaning(_NO, _K.CANCEL_PENDING, "a cancel of this order is under way; wait for it"),
    "EOrder:Post only order": Meaning(
        _NO, _K.POST_ONLY, "the price would have taken liquidity; quote further from the market"
    ),
    "EOrder:Orders limit exceeded": Meaning(
        _NO, _K.ORDER_LIMIT, "too many open orders on this pair; cancel some first"
    ),
    "EOrder:Scheduled orders limit exceeded": Meaning(
        _NO, _K.ORDER_LIMIT, "too many orders with a scheduled start; cancel some first"
    ),
    "EOrder:Rate limit exceeded": Meaning(
        _NO, _K.RATE_LIMIT, "the pair's rate counter is full; it decays with time, amends cost less than cancels"
    ),
    "EOrder:Domain rate limit exceeded": Meaning(_NO, _K.RATE_LIMIT, "the venue's own limit is reached; wait"),
    # money
    "EOrder:Insufficient funds": Meaning(
        _NO, _K.FUNDS, "the free balance is too small; lower the quantity or cancel other orders"
    ),
    "EOrder:Insufficient margin": Meaning(_NO, _K.MARGIN, "Kraken's margin pool is empty; trade without margin"),
    "EOrder:Insufficient initial margin": Meaning(_NO, _K.MARGIN, "your margin is too small; lower the quantity"),
    "EOrder:Margin allowance exceeded": Meaning(_NO, _K.MARGIN, "your margin allowance is used up; lower the quantity"),
    "EOrder:Margin level too low": Meaning(_NO, _K.MARGIN, "your margin level is too low; add collateral"),
    "EOrder:Margin position size exceeded": Meaning(
        _NO, _K.MARGIN, "the pair's limit of margin positions is reached; lower the quantity"
    ),
    "EOrder:Cannot open position": Meaning(_NO, _K.MARGIN, "this account may not trade on margin"),
    "EOrder:Cannot open opposing position": Meaning(
        _NO, _K.MARGIN, "close the opposite margin position first; this account may hold one side only"
    ),
    "EOrder:Positions limit exceeded": Meaning(_NO, _K.MARGIN, "too many margin positions; close some first"),
    "EOrder:Unknown position": Meaning(_NO, _K.MARGIN, "there is no such margin position"),
    "EOrder:Reduce only:Non-PC": Meaning(
        _NO, _K.REDUCE_ONLY, "a Canadian account that is no permitted client may only reduce"
    ),
    "EOrder:Reduce only:Non-ECP": Meaning(
        _NO, _K.REDUCE_ONLY, "a US account that is no eligible contract participant may only reduce"
    ),
    "EOrder:Reduce only:No position exists": Meaning(_NO, _K.REDUCE_ONLY, "there is no position to reduce"),
    # It was in the market: it matched what it could, and the rest was canceled. Only the
    # executions tell how much.
    "EOrder:Reduce only:Position is closed": Meaning(
        _DOUBT, _K.REDUCE_ONLY, "the position is closed, and the rest of the order canceled; its fills are looked up"
    ),
    # the account and the key
    "EOrder:Trading agreement required": Meaning(
        _NO, _K.ACCOUNT, "accept the trading agreement in Kraken's account settings"
    ),
    "EAccount:Invalid permissions": Meaning(_NO, _K.ACCOUNT, "this account may not trade this asset; leave it out"),
    "EBM:limit exceeded:CAL": Meaning(_NO, _K.ACCOUNT, "the Canadian limit of net purchases is reached"),
    "ETrade:Locked": Meaning(_NO, _K.ACCOUNT, "the account is locked for trading; ask Kraken's support"),
    "EAuth:Account temporary disabled": Meaning(_NO, _K.ACCOUNT, "the account is disabled; ask Kraken's support"),
    "EAuth:Account unconfirmed": Meaning(_NO, _K.ACCOUNT, "confirm the account with Kraken first"),
    "EAuth:Rate limit exceeded": Meaning(_NO, _K.CALL_LIMIT, "too many calls; wait before the next"),
    "EAuth:Too many requests": Meaning(_NO, _K.CALL_LIMIT, "too many calls; wait before the next"),
    "EGeneral:Permission denied": Meaning(
        _NO, _K.PERMISSION, "the API key lacks a permission; `engine check` names the box to tick"
    ),
    "EGeneral:Temporary lockout": Meaning(
        _NO, _K.LOCKOUT, "too many calls with a wrong key; wait 15 minutes without any call, then correct the key"
    ),
    "EGeneral:Too many requests": Meaning(_NO, _K.CALL_LIMIT, "too many calls; wait before the next"),
    "EAPI:Invalid key": Meaning(_NO, _K.AUTH, "the API key is not one of Kraken's; copy it again"),
    "EAPI:Invalid signature": Meaning(_NO, _K.AUTH, "the API secret does not belong to the API key; copy both again"),
    "EAPI:Invalid nonce": Meaning(
        _NO, _K.NONCE, "the nonce is not above the key's last one; use this API key in no other program"
    ),
    "EAPI:Rate limit exceeded": Meaning(_NO, _K.CALL_LIMIT, "the REST counter of this key is full; wait"),
    "EAPI:Invalid token": Meaning(_NO, _K.TOKEN, "the WebSocket token is refused; a new one is fetched"),
    "EAPI:Feature disabled": Meaning(_NO, _K.PERMISSION, "Kraken has switched this off for the account"),
    "ESession:Invalid session": Meaning(_NO, _K.TOKEN, "the WebSocket token has died; a new one is fetched"),
    # Kraken's own trouble: whether the order was placed is not known
    "EGeneral:Internal error": Meaning(_DOUBT, _K.SERVICE, _LOOK_UP),
    "EService:Unavailable": Meaning(_DOUBT, _K.SERVICE, _LOOK_UP),
    "EService:Busy": Meaning(_DOUBT, _K.SERVICE, _LOOK_UP),
    "EDatabase:Internal error": Meaning(_DOUBT, _K.SERVICE, _LOOK_UP),
    "HTTP": Meaning(_DOUBT, _K.TRANSPORT, _LOOK_UP),
    # Nominally it was not placed; nominally.
    "EService:Deadline elapsed": Meaning(
        _DOUBT, _K.DEADLINE, "the deadline passed before the order was taken; that is confirmed by a look-up"
    ),
    "EService:Throttled": Meaning(_NO, _K.CALL_LIMIT, "too many calls at once; wait until the time that Kraken names"),
    "EService:Market in cancel_only mode": Meaning(
        _NO, _K.MARKET_MODE, "only cancels are taken now; wait for the market's status"
    ),
    "EService:Market in post_only mode": Meaning(
        _NO, _K.MARKET_MODE, "only post-only orders are taken now; wait for the market's status"
    ),
    "EService:Market in limit_only mode": Meaning(
        _NO, _K.MARKET_MODE, "only limit orders are taken now; wait for the market's status"
    ),
    "EService:Market in": Meaning(_NO, _K.MARKET_MODE, "the market is restricted now; wait for its status"),
}

# Texts of the front end that begin with the name of a field.
_FIELD_MISSING = Meaning(_NO, _K.ARGUMENT, "a field is missing in a request; this is a fault of the engine")
_FIELD_TYPE = Meaning(_NO, _K.ARGUMENT, "a field of a request has the wrong type; this is a fault of the engine")

# What a category alone proves of the order, and nothing of whether it may pass: no kind of
# what only a person can mend. These are decided before an order reaches the matching
# engine; EOrder is not among them (`EOrder:Reduce only:Position is closed` comes from an
# order that has traded), nor are EGeneral and EService.
_CATEGORIES: dict[str, Meaning] = {
    "EAPI": Meaning(_NO, _K.UNKNOWN, "Kraken refuses the call before looking at the order"),
    "EAuth": Meaning(_NO, _K.UNKNOWN, "Kraken refuses the account before looking at the order"),
    "EAccount": Meaning(_NO, _K.UNKNOWN, "Kraken refuses the account before looking at the order"),
    "ESession": Meaning(_NO, _K.TOKEN, "the WebSocket token is refused; a new one is fetched"),
    "EQuery": Meaning(_NO, _K.ARGUMENT, _FIX),
    "EFunding": Meaning(_NO, _K.ARGUMENT, "this concerns deposits and withdrawals, which the engine never makes"),
}

UNKNOWN_TEXT = Meaning(
    _DOUBT, _K.UNKNOWN, "the engine does not know this error, so it is looked up what became of the order"
)
UNREADABLE = Meaning(
    _DOUBT, _K.UNKNOWN, "Kraken's answer cannot be read, so it is looked up what became of the order", is_krakens=False
)
NO_ANSWER = Meaning(
    _DOUBT, _K.TRANSPORT, "no answer came, so it is looked up what became of the order", is_krakens=False
)

_LONGEST_FIRST = sorted(CATALOG, key=len, reverse=True)
_BLANKS = re.compile(r":\s+")
TEXT_CHARS_MAX = 300  # of an error; the rest of a longer one is not matched


def meaning(error: str) -> Meaning:
    """The meaning of an error text from REST or the WebSocket; UNKNOWN_TEXT for an unknown
    one.
    """
    text = _BLANKS.sub(":", error[:TEXT_CHARS_MAX].strip())
    for beginning in _LONGEST_FIRST:
        if text.startswith(beginning) and _ends_well(text, beginning):
            return CATALOG[beginning]
    if text.endswith("(s) not found"):
        return _FIELD_MISSING
    if " field must be a" in text:
        return _FIELD_TYPE
    return _CATEGORIES.get(text.partition(":")[0], UNKNOWN_TEXT)


def _ends_well(text: str, beginning: str) -> bool:
    """Whether the rest is a detail and not part of a longer phrase: `EOrder:Invalid order
    book` is another error.
    """
    rest = text[len(beginning) :]
    return not rest or rest[0] in ":.[," or (rest[0] == " " and not text.startswith("EOrder:"))


def throttled_until_s(error: str) -> int | None:
    """The unix time in `EService: Throttled: 1750000000`; None where there is none."""
    found = re.fullmatch(r"EService:\s*Throttled:\s*(\d{1,12})", error.strip())
    return int(found[1]) if found else None
