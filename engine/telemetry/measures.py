"""What is counted, and what it means: every counter and latency that a process keeps in
shared memory.

    measures ─► topology: the names, in the order of the memory
             └► metrics: the HELP texts, and engine/docs/metrics.md

A name ends in its unit: `_ns`, `_bytes`, `_percent`, `_ppm`; without one it is a number of
things.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Kind = Literal["count", "level", "moment"]
"""count: only grows. level: what is true now. moment: when something was, by
CLOCK_MONOTONIC."""


class Measure(NamedTuple):
    """One counter."""

    name: str
    text: str
    """What it means: a sentence."""
    kind: Kind = "count"


def names_of(measures: Sequence[Measure]) -> tuple[str, ...]:
    """The names of the counters, in their order."""
    return tuple(measure.name for measure in measures)


_SIGN_OF_LIFE: Final = Measure("heartbeat_ns", "Its last sign of life.", "moment")
_CONNECTED: Final = Measure("connected", "Whether its WebSocket is connected now.", "level")
_FRAMES: Final = (
    Measure("frames", "WebSocket frames that were received."),
    Measure("bytes", "Their bytes."),
    Measure("binary_frames", "Frames that were not text, which Kraken never sends."),
)
_CONNECTION: Final = (
    Measure("connects", "Connections that were opened."),
    Measure("connect_failures", "Attempts that failed."),
    Measure("disconnects", "Connections that ended."),
)
_SESSION_ERRORS: Final = Measure("session_errors", "Errors of our own that ended a connection.")
_HEARTBEATS: Final = Measure("heartbeats", "Heartbeats of Kraken's.")
_PONGS: Final = Measure("pongs", "Answers to our pings.")
_UNKNOWN: Final = Measure("unknown", "Messages of a kind that this engine does not know.")
_MALFORMED: Final = Measure("malformed", "Messages that could not be read.")
_REFUSED: Final = Measure("refused", "Subscriptions that Kraken refused.")
_PING: Final = Measure("ping_rtt_ns", "The last ping's round trip.", "level")
_RESCUES: Final = Measure("rescues", "Wake-ups that were missed and made good.")

# Of a public feed.
FEED: Final = (
    _SIGN_OF_LIFE,
    Measure("heard_ns", "When its connection last brought anything of Kraken's.", "moment"),
    *_FRAMES,
    *_CONNECTION,
    _CONNECTED,
    _SESSION_ERRORS,
    Measure("trades", "Trades that were published, each once."),
    Measure(
        "trades_missed",
        "Trade ids that neither the WebSocket nor REST told; one that comes late is subtracted again.",
        "level",
    ),
    Measure("trades_repeated", "Trades that Kraken sent again; not published again."),
    Measure("tickers", "Tickers that were published."),
    Measure("candles", "Candles that were published, each state of them."),
    Measure(
        "candles_missed",
        "Intervals since the start that are over and lack trades which REST has not told either: never told as closed.",
        "level",
    ),
    Measure("candles_amended", "Closed candles that were told again, for a trade of them came late."),
    Measure("candles_filled", "Candles that REST has told, or a part of them: history, the first interval, gaps."),
    Measure("candles_received", "Candles of Kraken's own channel, which ours are compared with."),
    Measure(
        "candles_compared",
        "Candles made from trades only that were compared with Kraken's, from its channel or REST.",
    ),
    Measure(
        "candles_differing",
        "Of them, those that differ: by a trade, a price, the volume, or more than a tick of the mean price.",
    ),
    _HEARTBEATS,
    Measure("level3", "Messages of the level3 channel, of which no book is made."),
    _PONGS,
    _UNKNOWN,
    _MALFORMED,
    _REFUSED,
    Measure("unpublishable", "Of a public feed: books that did not fit a record of the ring."),
    _PING,
    Measure("trades_filled", "Of `trades`, those that REST alone told."),
    Measure("rest_calls", "Public calls of REST."),
    Measure("rest_failures", "Of them, those that were refused, or not answered."),
    Measure("rest_failed_percent", "Of the last twenty calls of REST, those that failed.", "level"),
    Measure("cache_hits", "Answers that were known already, and needed no call."),
    Measure("comparisons", "Comparisons of both sources."),
    Measure("divergences", "Of them, those beyond `fallback.divergence_percent`."),
    Measure("divergence_ppm", "How far apart their prices were in the last one.", "level"),
    Measure("divergence_ppm_max", "How far at most.", "level"),
    Measure("source_switches", "Changes of a kind of data of a pair from one source to the other."),
    Measure("failover_ns", "The last time from the loss of the connection to the first record of REST.", "level"),
    Measure("failover_ns_max", "The longest.", "level"),
    Measure("served_by_none_ns", "Time without a source, added up over kinds and pairs."),
    Measure("served_by_websocket_ns", "Time that the WebSocket served, added up over kinds and pairs."),
    Measure("served_by_rest_ns", "Time that REST served, added up over kinds and pairs."),
)
# Of each pair, among those of its feed.
PAIR: Final = (
    Measure("snapshots", "Snapshots of the book that were received."),
    Measure("updates", "Updates of the book that were applied."),
    Measure("ignored", "Updates that came while the book was in doubt."),
    Measure("mismatches", "Checksums that were wrong."),
    Measure("crossings", "Times at which the best bid was not below the best ask."),
    Measure("resyncs", "New snapshots that were asked for because the book was in doubt."),
    Measure("renewals", "New snapshots that were asked for because the pair was silent."),
    Measure("state", "The state of the book: 0 stale, 1 live, 2 untrusted, 3 unsubscribed.", "level"),
    Measure("confirmed", "Its channels that Kraken has confirmed: 1 book, 2 trade, 4 ticker, 8 candle.", "level"),
)
SOURCE: Final = (
    Measure("book_source", "What serves the pair's book now: 0 nothing, 1 the WebSocket, 2 REST.", "level"),
    Measure("ticker_source", "What serves its ticker.", "level"),
    Measure("trades_source", "What serves its trades.", "level"),
)
PRIVATE_FEED: Final = (
    _SIGN_OF_LIFE,
    *_FRAMES,
    *_CONNECTION,
    _CONNECTED,
    _SESSION_ERRORS,
    Measure("executions", "Entries of the executions channel."),
    Measure("balances", "Entries of the balances channel."),
    _HEARTBEATS,
    _PONGS,
    _UNKNOWN,
    _MALFORMED,
    _REFUSED,
    Measure("duplicates", "Messages that came twice, by their number."),
    Measure("reordered", "Messages that came ahead of one before them, and waited for it."),
    Measure("gaps", "Messages that never came; the channel was asked for anew."),
    Measure("held_back", "Facts that waited because the account ring was full."),
    Measure("tokens", "Tokens that it used."),
    Measure("subscriptions", "Channels whose snapshot has come, with no gap since.", "level"),
    _PING,
)
ROUTER: Final = (
    _SIGN_OF_LIFE,
    _RESCUES,
    Measure("frames", "Frames of the trading socket."),
    Measure("connects", "Connections of the trading socket that were opened."),
    Measure("connect_failures", "Attempts that failed."),
    Measure("disconnects", "Connections that ended."),
    Measure("connected", "1 while the trading socket is connected.", "level"),
    Measure("authenticated", "1 while it has a token, too.", "level"),
    _SESSION_ERRORS,
    Measure("commands", "Commands of strategies that were taken."),
    Measure("commands_stale", "Commands that had waited longer than `trading.command_ttl_s`; refused."),
    Measure("commands_repeated", "Commands that a router which died had taken already."),
    Measure("records_unreadable", "Commands and account facts that could not be read."),
    Measure("submitted", "Orders of strategies that passed every check."),
    Measure("acknowledged", "Of them, those that Kraken acknowledged."),
    Measure("filled", "Orders that were filled whole."),
    Measure("canceled", "Orders that ended canceled."),
    Measure("expired", "Orders that ended because their time was over."),
    Measure("rejected", "Orders that Kraken rejected, or proved never to have had."),
    Measure("refused", "Orders that the router refused; `orders.refused` has those of the strategies' side too."),
    Measure("unknown_open", "Orders that are in doubt now.", "level"),
    Measure("open", "Orders of the account that are open now.", "level"),
    Measure("own_open", "Of them, those of this engine.", "level"),
    Measure("by_websocket", "Orders that were sent by WebSocket."),
    Measure("by_rest", "Orders that were sent by REST."),
    Measure("fills", "Fills, each counted once."),
    Measure("fills_repeated", "Fills that were told again, and not counted again."),
    Measure("fills_given_up", "Fills that waited too long for their strategy, beyond 10,000."),
    Measure("amends", "Amends that were sent."),
    Measure("cancels", "Cancels that were sent."),
    Measure("adopted", "Orders of the account that this engine did not send."),
    Measure("in_doubt", "Requests whose answer was lost or certain of nothing."),
    Measure("resolved", "Of them, those that a lookup decided."),
    Measure("queued", "Orders that waited for the rate counter."),
    Measure("queue_full", "Orders that were refused because too many waited."),
    Measure("rate_limited", "Requests that Kraken refused for their number."),
    Measure("quarantined", "Facts that contradict what is known; logged and not acted upon."),
    Measure("parked", "Facts that wait for the order they belong to.", "level"),
    Measure("reports", "Reports that were sent to strategies."),
    Measure("reports_held_back", "Reports that waited because a strategy's ring was full."),
    Measure("reports_untold", "Reports that were dropped because too many waited; the state is told anew."),
    Measure("resyncs", "How often a strategy's orders were told anew as a whole."),
    Measure("journal_records", "Records that were written to the journal."),
    Measure("journal_errors", "Writes to the journal that failed."),
    Measure("degraded", "How often trading went on in `DEGRADED`."),
    Measure("polls_orders", "Answers of QueryOrders to the polls of that mode."),
    Measure("polls_open_orders", "Answers of OpenOrders."),
    Measure("polls_balances", "Answers of BalanceEx."),
    Measure("open_orders_checks", "Comparisons of all open orders with Kraken's."),
    Measure("dead_man_refreshes", "Refreshes of the dead man's switch."),
    Measure("dead_man_late", "Refreshes that were not confirmed in time."),
    Measure("snapshots_reconciled", "Snapshots of open orders that were compared with ours."),
    Measure("rest_calls", "REST calls."),
    Measure("rest_failures", "REST calls that failed."),
)
HOST: Final = (_SIGN_OF_LIFE, _RESCUES)
# Of each strategy, among those of the host; attributes of a HostedStrategy.
STRATEGY: Final = (
    Measure("received", "Records that it took from the market rings."),
    Measure("gaps", "Records that it did not get: overwritten, or skipped because they were old."),
    Measure("laps", "How often that happened."),
    Measure("callbacks", "Callbacks that were called."),
    Measure("errors", "Callbacks that raised."),
    Measure("slow", "Callbacks that took longer than `engine.slow_callback_ms`."),
    Measure("slowest_ns", "The longest of the slow ones; 0 when none was slow.", "level"),
    Measure("busy_ns", "Time that its callbacks have taken."),
    Measure("busy_ns_per_s", "Time a second that its callbacks took, of the last second.", "level"),
    Measure("busy_ns_per_s_max", "The most that this has been.", "level"),
    Measure("rests", "Turns after which it had to rest, because it asked for more than its share."),
    Measure("halted", "1 after it was stopped for its errors.", "level"),
    Measure("calls_refused", "Calls of `call_soon` that were not taken."),
    Measure("orders_refused", "Orders that were refused on its own side, before the router."),
    Measure("untold", "Refusals and fills that its callbacks were not given, because too many waited."),
    Measure("mistakes", "Calls that have no effect, such as `cancel(None)`; the log has their reasons."),
    Measure("reports_unreadable", "Reports of the order router that could not be read."),
)
# Of each strategy and market ring, among those of the host.
STRATEGY_RING: Final = (
    Measure("next", "Number of the record that it takes next; 0 where it does not read the ring.", "level"),
    Measure("gaps", "Records of a market ring that a strategy did not get."),
)
SUPERVISOR: Final = (
    _SIGN_OF_LIFE,
    Measure("commands_held_up", "Commands of strategies that found no room in their ring."),
)
# Of each child and strategy, among those of the supervisor.
CHILD: Final = (
    Measure("pid", "Process id of the child; 0 when it does not run.", "level"),
    Measure("restarts", "How often it was started again after it had died."),
)
WATCHED: Final = (Measure("hung", "Callbacks that had not returned after half a second."),)
# Of the process that sends notices.
NOTICES: Final = (
    _SIGN_OF_LIFE,
    Measure("lives", "How often the process that sends notices was started."),
    Measure("reports_missed", "Reports of orders that were overwritten before it read them."),
)
# Of each target of notices.
NOTICE_TARGET: Final = (
    Measure("notices", "Notices of events that the target wants."),
    Measure("told", "Of them, those that are in messages which it took, as a line or in a number."),
    Measure("summed", "Of those, the ones that were told in a number only, because too many came at once."),
    Measure("lost", "Notices that it was not told: it refused their message, or did not take it in time."),
    Measure("waiting", "Notices that wait to be told.", "level"),
    Measure("messages", "Messages that it took."),
    Measure("failures", "Attempts to send one that failed, or were refused."),
)

# What each latency measures: from, to.
WIRE_LATENCIES: Final = {
    "on_book": ("arrival of a frame", "start of `on_book`"),
    "on_trade": ("arrival of a frame", "start of `on_trade`"),
    "on_ticker": ("arrival of a frame", "start of `on_ticker`"),
    "on_candle": ("arrival of a frame", "start of `on_candle`"),
}
ROUTER_LATENCIES: Final = {
    "strategy_to_wire": ("call of `buy` or `sell`", "the order's bytes handed to the socket"),
    "ack": ("a request's bytes handed to the socket", "Kraken's answer"),
    "tick_to_order": ("arrival of the frame that a strategy answered", "the order's bytes handed to the socket"),
    "rest": ("a REST call", "its answer"),
    "acknowledged_by_websocket": (
        "an order was sent by WebSocket",
        "the router knows that Kraken has acknowledged it",
    ),
    "acknowledged_by_rest": ("an order was sent by REST", "the same"),
    "filled_by_websocket": ("an order was sent by WebSocket", "the router knows that it is filled whole"),
    "filled_by_rest": ("an order was sent by REST", "the same"),
}
