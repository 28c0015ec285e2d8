"""The events that notices tell of, by the names that `[notices]` of the configuration gives
them.

What matters most comes first: where a message has room for a few only, these are the ones.
"""

from typing import Final, Literal, get_args

NoticeEvent = Literal[
    "halt",
    "resume",
    "stop",
    "degraded",
    "trading",
    "restart",
    "strategy_halt",
    "strategy_hang",
    "error",
    "connection",
    "strategy_error",
    "rejected",
    "refused",
    "fill",
    "start",
]

NOTICE_EVENTS: Final[dict[NoticeEvent, str]] = {
    "halt": "Trading is halted, or only makes positions smaller: `trading.mode` is HALTED or REDUCING.",
    "resume": "It was resumed.",
    "stop": "The engine ends, and why; also that its process has died.",
    "degraded": "Trading goes on by REST, for a private WebSocket is out (the mode DEGRADED); and the end of that.",
    "trading": "Orders are taken, or not any more, for another reason; as `on_trading` tells it.",
    "restart": "A process of the engine died and is started again.",
    "strategy_halt": "A strategy was stopped for its errors.",
    "strategy_hang": "A callback of a strategy that trades has not returned for `engine.hang_s_max`; and its return.",
    "error": "Any other line of level error in the log of a process.",
    "connection": "A process lost its connection to Kraken; and that it has one again.",
    "strategy_error": "A callback of a strategy raised.",
    "rejected": "An order that Kraken rejected, or never had.",
    "refused": "An order that the order router refused; what a strategy's own side refuses is counted alone.",
    "fill": "An order traded.",
    "start": "The engine has started.",
}
assert tuple(NOTICE_EVENTS) == get_args(NoticeEvent)

# Told at once, though the last message is not `notices.every_s` old.
URGENT: Final = frozenset(
    ("halt", "resume", "stop", "degraded", "trading", "restart", "strategy_halt", "strategy_hang", "error")
)
assert NOTICE_EVENTS.keys() >= URGENT

# What is told unless a target says otherwise. Refusals are the strategy's own business, and
# may come with every tick.
USUAL: Final[tuple[NoticeEvent, ...]] = tuple(event for event in NOTICE_EVENTS if event != "refused")
