"""The private calls of REST that only read: balances, orders, trades, entries, fees, key
permissions.

Each call takes the key, the parameters and the time, and returns the `result` of the reply;
it raises VenueReject with Kraken's words.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from engine.clock import Clock
from engine.errors import VenueReject
from engine.units import NS_PER_S, WallNs
from engine.venue.market.pairs import PairSpec
from engine.venue.rest.names import UNKNOWN_PAIR, NameBook, asset_decimals, asset_id
from engine.venue.rest.orders import RestCall, check_order_id
from engine.venue.rest.params import Params
from engine.venue.rest.text import PAIR_CLASS, OrderView, amend_row, ledger_row, order_row, padded, trade_row
from engine.venue.rest.views import PAGE, Span, chosen, closed_views, current_view, merged, open_views, page
from engine.venue.setup.keys import ApiKey
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import Execution
from engine.venue.trading.fees import FEE_TIERS, FeeTier
from engine.venue.trading.order_checks import invalid
from engine.venue.trading.trading import Trading
from engine.venue.websocket.tokens import LIFE_S, Tokens

QUERY_ORDERS_MAX: Final = 50
QUERY_TRADES_MAX: Final = 20
QUERY_LEDGERS_MAX: Final = 20
TRADES_PAGE_MAX: Final = 100  # a larger `limit` of TradesHistory counts as this one
PAIR_CLASSES: Final = (PAIR_CLASS, "equity_pair", "futures_contract", "synthetic_pair", "external_pair")
TRADE_TYPES: Final = ("all", "any position", "closed position", "closing position", "no position")
FOREX: Final = "forex"  # the class of all listed pairs, in the words of TradeVolume
PAIR_CLASSES_OF_FEES: Final = (
    FOREX, "currency", "equity", "equity_pair", "nft", "derivatives", "tokenized_asset", "futures_contract",
)  # fmt: skip
LEDGER_TYPES: Final = (
    "all", "trade", "deposit", "withdrawal", "transfer", "margin", "adjustment", "rollover", "credit", "settled",
    "staking", "dividend", "sale", "nft_rebate", "conversion", "spend", "receive", "reward",
)  # fmt: skip

Delay = Callable[[WallNs], WallNs | None]
"""The moment whose state a query of orders shows; None for now."""


class RestPrivate:
    """The calls that only read."""

    def __init__(
        self, trading: Trading, book: NameBook, tokens: Tokens, clock: Clock, key_made_at_s: int, delay: Delay
    ) -> None:
        self._trading = trading
        self._book = book
        self._tokens = tokens
        self._clock = clock
        self._key_made_at_s = key_made_at_s
        self._delay = delay

    # --- the key

    def get_websockets_token(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"token":"…","expires":900}`."""
        return {"token": self._tokens.issue(api_key, self._clock.mono_ns()), "expires": LIFE_S}

    def get_api_key_info(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Describe the key and its permissions."""
        return {
            "api_key_name": f"account {api_key.account_id}",
            "api_key": api_key.key,
            "nonce": str(api_key.last_nonce),
            "nonce_window": str(api_key.nonce_window),
            "permissions": sorted(api_key.permissions),
            "iban": "",
            "valid_until": "0",
            "query_from": "0",
            "query_to": "0",
            "created_time": str(self._key_made_at_s),
            "modified_time": str(self._key_made_at_s),
            "ip_allowlist": [],
            "last_used": str(at // NS_PER_S),
        }

    # --- money

    def balance(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"XXBT":"10.0000000000","ZUSD":"1000000.0000"}`."""
        account = self._account(api_key)
        return {
            asset_id(asset): padded(total, asset_decimals(asset))
            for asset, total in sorted(account.balances.items(), key=lambda balance: asset_id(balance[0]))
        }

    def balance_ex(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"ZUSD":{"balance":"1000000.0000","hold_trade":"25.0000"}}`."""
        account = self._account(api_key)
        return {
            asset_id(asset): {
                "balance": padded(total, asset_decimals(asset)),
                "hold_trade": padded(account.held(asset), asset_decimals(asset)),
            }
            for asset, total in sorted(account.balances.items(), key=lambda balance: asset_id(balance[0]))
        }

    def trade_balance(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """The whole account in one currency. Without margin, equity is its worth."""
        account = self._account(api_key)
        unit = self._usd_value(self._book.asset(params.text("asset") or "ZUSD"))
        if not unit:
            raise VenueReject("EQuery:Unknown asset")
        equity = sum((total * self._usd_value(asset) for asset, total in account.balances.items()), Decimal(0)) / unit
        held = sum((total * self._usd_value(asset) for asset, total in account.holds.items()), Decimal(0)) / unit
        worth, free = padded(equity, 4), padded(equity - held, 4)
        none = "0.0000"
        return {
            "eb": worth, "tb": worth, "m": none, "uv": none, "n": none, "c": none, "v": none, "e": worth, "mf": worth,
            "mfo": free,
        }  # fmt: skip

    def _usd_value(self, asset: str) -> Decimal:
        return Decimal(str(self._trading.usd_value(asset)))

    def trade_volume(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """The volume of 30 days, the tier, and the fees of the pairs asked for.

        With `fee_schedule` also the fees of every tier.
        """
        account = self._account(api_key)
        pairs = [self._book.pair(name) for name in _names_of_pairs(params)]
        volume = f"{account.volume.usd(at):.4f}"
        worth = sum((total * self._usd_value(asset) for asset, total in account.balances.items()), Decimal(0))
        result: dict[str, Any] = {
            "currency": "ZUSD",
            "asset_class": "currency",
            "volume": volume,
            "inputs": {
                "domain_spot_volume_30d": volume,
                "domain_futures_volume_30d": "0.0000",
                "domain_assets_on_platform": padded(worth, 4),
            },
        }
        tier = account.fee_tier(at)
        if pairs:
            result["fees"] = self._fees(pairs, tier, lambda row: row.taker_ppm)
            result["fees_maker"] = self._fees(pairs, tier, lambda row: row.maker_ppm)
        if params.flag("fee_schedule"):
            result["schedules"] = [
                {"pair": self._book.names[pair.symbol].pair_id, "class": FOREX, "tiers": _schedule(tier)}
                for pair in pairs
            ]
        return result

    def _fees(self, pairs: list[PairSpec], tier: FeeTier, ppm: Callable[[FeeTier], int]) -> dict[str, Any]:
        """The fee of a tier, the extremes, and the next tier's; the highest tier has no
        next.
        """
        above = [row for row in FEE_TIERS if row.volume_usd > tier.volume_usd]
        fees = {
            "fee": _percent(ppm(tier)),
            "minfee": _percent(ppm(FEE_TIERS[-1])),
            "maxfee": _percent(ppm(FEE_TIERS[0])),
            "nextfee": _percent(ppm(above[0])) if above else None,
            "tiervolume": f"{tier.volume_usd:.4f}",
            "nextvolume": f"{above[0].volume_usd:.4f}" if above else None,
        }
        return {self._book.names[pair.symbol].pair_id: fees for pair in pairs}

    # --- orders

    def open_orders(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"open":{"O…":{…}}}`."""
        views = open_views(self._account(api_key), params, self._delay(at))
        return {"open": {view.order.order_id: self._order_row(view, params) for view in views}}

    def closed_orders(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"closed":{"O…":{…}},"count":99}`, fifty at a time."""
        views = closed_views(self._account(api_key), params, self._delay(at))
        closed = {view.order.order_id: self._order_row(view, params) for view in page(views, params)}
        return _counted({"closed": closed}, len(views), params)

    def query_orders(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Orders by id, open or closed; unknown ids are left out."""
        account = self._account(api_key)
        userref, cl_ord_id = params.integer("userref"), params.text("cl_ord_id")
        result = {}
        for order_id in chosen(params.texts("txid"), QUERY_ORDERS_MAX, "txid"):
            order = account.order(check_order_id(order_id))
            if order is None or (userref is not None and order.order_userref != userref):
                continue
            if cl_ord_id is None or order.cl_ord_id == cl_ord_id:
                result[order_id] = self._order_row(current_view(order), params)
        return result

    def _order_row(self, view: OrderView, params: Params) -> dict[str, Any]:
        return order_row(view, self._book.names[view.order.symbol], params.flag("trades"))

    def order_amends(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"amends":[{…"amend_type":"original"…},{…"user"…}],"count":2}`."""
        order_id = check_order_id(params.required("order_id"))
        order = self._account(api_key).order(order_id)
        if order is None:
            raise VenueReject("EOrder:Unknown order")
        versions = self._trading.amendments(order)
        return {"amends": [amend_row(version, order.pair) for version in versions], "count": len(versions)}

    # --- trades and entries

    def trades_history(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"count":396,"trades":{"T…":{…}}}`, newest first, fifty at a time or
        `limit` of them.
        """
        account = self._account(api_key)
        symbol, span = self._wanted_symbol(params), Span(params, account)
        rows_max = _trades_max(params)
        if params.choice("type", TRADE_TYPES) not in (None, "all", "no position"):
            return _counted({"trades": {}}, 0, params)
        fills = [
            fill for fill in account.executions.values() if span.holds(fill.at) and symbol in (None, fill.pair.symbol)
        ]
        one_by_one = params.has("consolidate_taker") and not params.flag("consolidate_taker")
        groups = [[fill] for fill in fills] if one_by_one else merged(fills)
        groups.reverse()
        with_ledgers = params.flag("ledgers")
        trades = {group[0].exec_id: self._trade_row(group, with_ledgers) for group in page(groups, params, rows_max)}
        return _counted({"trades": trades}, len(groups), params)

    def _wanted_symbol(self, params: Params) -> str | None:
        """The one pair whose trades are asked for, by any of its names; None for all.

        `aclass` is that pair's class.
        """
        pair_class = params.choice("aclass", PAIR_CLASSES) or PAIR_CLASS
        name = params.text("pair")
        if name is None:
            return None
        if pair_class != PAIR_CLASS:
            raise VenueReject(UNKNOWN_PAIR)
        return self._book.pair(name).symbol

    def query_trades(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Fills by id."""
        executions = self._account(api_key).executions
        result = {}
        for exec_id in chosen(params.texts("txid"), QUERY_TRADES_MAX, "txid"):
            _check_id(exec_id, "txid")
            if fill := executions.get(exec_id):
                result[exec_id] = self._trade_row([fill], True)
        return result

    def _trade_row(self, fills: list[Execution], with_ledgers: bool) -> dict[str, Any]:
        return trade_row(fills, self._book.names[fills[0].pair.symbol], with_ledgers)

    def ledgers(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"ledger":{"L…":{…}},"count":2}`, newest first, fifty at a time."""
        account = self._account(api_key)
        kind = params.choice("type", LEDGER_TYPES) or "all"
        names = params.texts("asset")
        assets = {self._book.asset(name) for name in names if name != "all"}
        span = Span(params, account)
        entries = [
            entry
            for entry in reversed(account.entries.values())
            if kind in ("all", entry.kind) and (not assets or entry.asset in assets) and span.holds(entry.at)
        ]
        rows = {entry.ledger_id: ledger_row(entry) for entry in page(entries, params)}
        return _counted({"ledger": rows}, len(entries), params)

    def query_ledgers(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Entries by id."""
        entries = self._account(api_key).entries
        ids = [_check_id(ledger_id, "id") for ledger_id in chosen(params.texts("id"), QUERY_LEDGERS_MAX, "id")]
        return {ledger_id: ledger_row(entries[ledger_id]) for ledger_id in ids if ledger_id in entries}

    def open_positions(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return no position, because the venue lends nothing: a map by position, or a list
        by market.
        """
        return [] if params.choice("consolidation", ("market",)) else {}

    def _account(self, api_key: ApiKey) -> Account:
        return self._trading.account(api_key.account_id)


def _names_of_pairs(params: Params) -> list[str]:
    """The pairs in `pair`: names, or objects of name and class,
    `{"asset":"XBTUSD","aclass":"forex"}`.
    """
    names = []
    for element in params.elements("pair"):
        if not isinstance(element, dict):
            names.append(element)
            continue
        named = Params(element)
        names.append(named.required("asset"))
        if named.required("aclass") not in PAIR_CLASSES_OF_FEES:
            raise invalid("aclass")
        if named.required("aclass") != FOREX:
            raise VenueReject(UNKNOWN_PAIR)
    return Params({"pair": names}).texts("pair")


def _schedule(active: FeeTier) -> list[dict[str, Any]]:
    """The fees of every tier; the first has no condition, and the current one is marked."""
    tiers: list[dict[str, Any]] = []
    for row in FEE_TIERS:
        tier: dict[str, Any] = {"maker_fee": _percent(row.maker_ppm), "taker_fee": _percent(row.taker_ppm)}
        if row.volume_usd:
            tier["min_spot_volume"] = f"{row.volume_usd:.4f}"
        if row == active:
            tier["active"] = True
        tiers.append(tier)
    return tiers


def _percent(ppm: int) -> str:
    """Write 2600 millionths as `0.2600` per cent."""
    return padded(Decimal(ppm) / 10_000, 4)


def _trades_max(params: Params) -> int:
    """Rows of one page of trades: `limit`, at most 100."""
    limit = params.integer("limit")
    if limit is not None and limit < 1:
        raise invalid("limit")
    return PAGE if limit is None else min(limit, TRADES_PAGE_MAX)


def _counted(result: dict[str, Any], count: int, params: Params) -> dict[str, Any]:
    """Add the number of all rows, of which a page shows some, unless it is not wanted."""
    return result if params.flag("without_count") else result | {"count": count}


def _check_id(text: str, name: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{6,7}-[A-Z0-9]{5}-[A-Z0-9]{6}", text):
        raise invalid(name)
    return text


def reading_calls(private: RestPrivate) -> dict[str, tuple[tuple[str, ...], RestCall]]:
    """By method: the permissions it needs (all of them, or one of those joined by `|`), and
    its function.
    """
    funds, ledger = "query-funds", "query-ledger"
    open_trades, closed_trades = "query-open-trades", "query-closed-trades"
    either = f"{open_trades}|{closed_trades}"
    return {
        "Balance": ((funds,), private.balance),
        "BalanceEx": ((funds,), private.balance_ex),
        "TradeBalance": ((funds,), private.trade_balance),
        "TradeVolume": ((funds,), private.trade_volume),
        "OpenOrders": ((open_trades,), private.open_orders),
        "ClosedOrders": ((closed_trades,), private.closed_orders),
        "QueryOrders": ((either,), private.query_orders),
        "OrderAmends": ((either,), private.order_amends),
        "TradesHistory": ((closed_trades,), private.trades_history),
        "QueryTrades": ((closed_trades,), private.query_trades),
        "OpenPositions": ((open_trades,), private.open_positions),
        "Ledgers": ((ledger,), private.ledgers),
        "QueryLedgers": ((ledger,), private.query_ledgers),
        "GetApiKeyInfo": ((), private.get_api_key_info),
        "GetWebSocketsToken": (("create-ws-token",), private.get_websockets_token),
    }
