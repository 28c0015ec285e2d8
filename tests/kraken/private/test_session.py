"""The private session: every genuine row is understood, and what is missing is never missing unnoticed."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.private.events import ChannelRefused, TokenRefused
from engine.kraken.private.session import (
    ATTEMPTS_MAX,
    RESYNC_INTERVAL_NS,
    RETRY_INTERVAL_NS,
    PrivateSession,
    PrivateSettings,
)
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.venue_facts import BalanceFact, ExecutionFact, Fee, FeedLost, SnapshotBegan, SnapshotEnded
from engine.timestamps import wall_ns
from engine.units import NS_PER_MS, NS_PER_S

DATA = Path(__file__).parents[2] / "data" / "kraken" / "private"
T0 = 1_000 * NS_PER_S
S, MS = NS_PER_S, NS_PER_MS
HEARTBEAT = b'{"channel":"heartbeat"}'
SETTINGS = PrivateSettings(ping_interval_ns=15 * S)  # the requests of most tests are counted, without pings


def lines(pattern):
    return [line for path in sorted(DATA.glob(pattern)) for line in path.read_bytes().splitlines()]


EXECUTIONS = lines("executions_*.jsonl")
BALANCES = lines("balances.jsonl")


class Venue:
    """Kraken's side of one connection: it answers what the session asks, unless told otherwise."""

    def __init__(self, settings=SETTINGS):
        self.session = PrivateSession(settings)
        self.now = T0
        self.events = []
        self.sequence = {"executions": 0, "balances": 0}
        self.requests = []

    def connect(self, token="the token"):
        self.session.opened(self.now)
        self.session.authorise(token, self.now)
        return self

    def live(self):
        """Connected, both channels live, nothing told yet."""
        self.connect().answer()
        assert self.session.is_live
        self.events.clear()
        self.now += 10 * S
        self.tell(HEARTBEAT)
        return self

    def tell(self, frame):
        told = list(self.session.receive(frame, self.now))
        self.events += told
        return told

    def take(self):
        """The requests that the session sends now."""
        taken = [json.loads(frame) for frame in self.session.to_send()]
        self.requests += taken
        return taken

    def answer(self):
        """Acknowledge every request, and send the snapshots."""
        while requests := self.take():
            for request in requests:
                self.acknowledge(request)

    def acknowledge(self, request, snapshot=()):
        channel = request.get("params", {}).get("channel")
        if request["method"] == "ping":
            self.tell(b'{"method":"pong","req_id":%d}' % request["req_id"])
            return
        result = {"channel": channel}
        if channel == "executions" and request["method"] == "subscribe":
            result["maxratecount"] = 125
        self.tell(json.dumps({"method": request["method"], "req_id": request["req_id"], "success": True,
                              "result": result}).encode())  # fmt: skip
        if request["method"] == "subscribe":
            self.sequence[channel] = 1
            self.tell(frame(channel, 1, *snapshot, kind="snapshot"))

    def refuse(self, request, error):
        return self.tell(json.dumps({"method": request["method"], "req_id": request["req_id"], "success": False,
                                     "error": error}).encode())  # fmt: skip

    def poll(self, after_ns=0):
        self.now += after_ns
        told = list(self.session.poll(self.now))
        self.events += told
        return told

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def frame(channel, sequence, *rows, kind="update"):
    """A message as Kraken writes it."""
    return json.dumps({"channel": channel, "type": kind, "data": list(rows), "sequence": sequence}).encode()


def execution(number):
    """The frame of update `number`, telling of an order of that number."""
    return frame("executions", number, {"exec_type": "new", "order_id": f"O{number}", "order_status": "new"})


def ids(events):
    return [event.order_id for event in events if isinstance(event, ExecutionFact)]


# --- genuine rows


def told_by(frame_):
    """What a fresh session tells of one frame, whatever its sequence."""
    venue = Venue().connect()
    return venue.tell(frame_)


def crossed(fact):
    """The fact as the router has it."""
    return ACCOUNT_FACTS.unpack(ACCOUNT_FACTS.pack(fact))


@pytest.mark.parametrize("line", EXECUTIONS)
def test_every_genuine_execution_is_told_to_the_last_digit(line):
    """Judged by another JSON parser: same value, same zeros; and what the row does not have is None."""
    message = json.loads(line, parse_float=Decimal, parse_int=Decimal)
    facts = [event for event in told_by(line) if isinstance(event, ExecutionFact)]

    assert len(facts) == len(message["data"])
    for fact, row in zip(facts, message["data"], strict=True):
        for name in ("order_qty", "limit_price", "cum_qty", "last_qty", "last_price", "cost"):
            assert str(getattr(fact, name)) == str(row.get(name)), name
        for name in ("order_id", "cl_ord_id", "symbol", "side", "order_type", "exec_type", "exec_id",
                     "reason", "post_only"):  # fmt: skip
            assert getattr(fact, name) == row.get(name), name
        assert fact.timestamp == wall_ns(row["timestamp"]) > 0
        assert fact.trade_id == row.get("trade_id")
        assert fact.liquidity == row.get("liquidity_ind")
        assert fact.order_userref == (int(row.get("order_userref", 0)) or None)
        assert fact.time_in_force == (row["time_in_force"].lower() if "time_in_force" in row else None)
        assert fact.fees == tuple(Fee(fee["asset"], fee["qty"]) for fee in row.get("fees", ()))
        assert fact.trigger_price == row.get("triggers", {}).get("price")
        assert fact.is_snapshot == (message["type"] == "snapshot")
        assert fact.received_at == T0


GOLDEN = {
    "pending_new": ("executions_lifecycle_limit_amend_cancel.jsonl", 1, ExecutionFact(
        exec_type="pending_new", order_id="OVN7VD-7VYHS-APBKHA", timestamp=1769061979833306000, received_at=T0,
        cl_ord_id="b17c7bb34d000200", symbol="BTC/USDT", side="buy", order_type="limit",
        order_qty=Decimal("0.00010000"), limit_price=Decimal("80000.0"),
        time_in_force="gtc")),
    "new": ("executions_lifecycle_limit_amend_cancel.jsonl", 2, ExecutionFact(
        exec_type="new", order_id="OVN7VD-7VYHS-APBKHA", timestamp=1769061979833306000, received_at=T0,
        cl_ord_id="b17c7bb34d000200")),
    "amended": ("executions_lifecycle_limit_amend_cancel.jsonl", 3, ExecutionFact(
        exec_type="amended", order_id="OVN7VD-7VYHS-APBKHA", timestamp=1769061987552281000, received_at=T0,
        cl_ord_id="b17c7bb34d000200", order_qty=Decimal("0.00010000"),
        limit_price=Decimal("81818.0"), cum_qty=Decimal("0.00000000"), reason="User requested")),
    "canceled": ("executions_lifecycle_limit_amend_cancel.jsonl", 4, ExecutionFact(
        exec_type="canceled", order_id="OVN7VD-7VYHS-APBKHA", timestamp=1769061996039852000, received_at=T0,
        cl_ord_id="b17c7bb34d000200", cum_qty=Decimal("0.00000000"), reason="User requested")),
    "trade": ("executions_lifecycle_market_fill.jsonl", 1, ExecutionFact(
        exec_type="trade", order_id="OJUFYI-6DJSE-BNXAKJ", timestamp=1789075955921979000, received_at=T0,
        cl_ord_id="GRID-BO-DVe742G3Eq", symbol="SOL/USDC", side="buy", order_type="market",
        cum_qty=Decimal("1.80406743"), exec_id="TNPY35-6GCT5-MINCYT", trade_id=1725702, last_qty=Decimal("1.80406743"),
        last_price=Decimal("99.95"), cost=Decimal("180.31654"), liquidity="t",
        fees=(Fee("USDC", Decimal("0.685203")),))),
    "filled": ("executions_lifecycle_market_fill.jsonl", 2, ExecutionFact(
        exec_type="filled", order_id="OJUFYI-6DJSE-BNXAKJ", timestamp=1789075955921979000, received_at=T0,
        cl_ord_id="GRID-BO-DVe742G3Eq", cum_qty=Decimal("1.80406743"))),
}  # fmt: skip


@pytest.mark.parametrize("exec_type", GOLDEN)
def test_each_kind_of_execution_is_told_as_it_is(exec_type):
    file, number, fact = GOLDEN[exec_type]

    assert [crossed(told) for told in told_by(lines(file)[number])] == [fact]


def test_a_snapshot_of_trades_is_told_between_its_beginning_and_its_end():
    venue = Venue().connect()
    told = venue.tell(lines("executions_snapshots.jsonl")[0])

    assert isinstance(told[0], SnapshotBegan)
    assert [fact.exec_id for fact in told[1:-1]] == [
        "B1Y0D9-6JIJG-W1IB7L", "0CVSSH-KVM0J-TCXLSQ", "QEP2P0-DVAJN-VF1UTF", "NG6PUE-C7MXN-CFCAMC",
    ]  # fmt: skip
    assert all(fact.is_snapshot for fact in told[1:-1])
    assert told[-1] == SnapshotEnded("executions", None, T0)


BALANCE_FACTS = [
    [
        BalanceFact(asset="BTC", balance=Decimal("1.2"), is_snapshot=True),
        BalanceFact(asset="MATIC", balance=Decimal(300), earning=Decimal(200), is_snapshot=True),
        BalanceFact(asset="USD", balance=Decimal("80595.4943"), is_snapshot=True),
    ],
    [BalanceFact(asset="BTC", balance=Decimal("0.02"), amount=Decimal("0.01"), fee=Decimal("0.0"))],
    [BalanceFact(asset="BTC", balance=Decimal("0.005"), amount=Decimal("-0.005"), fee=Decimal("0.0"))],
    [BalanceFact(asset="USD", balance=Decimal(500), amount=Decimal("132.9995"), fee=Decimal("0.3458"))],
    [BalanceFact(asset="USDT", balance=Decimal("100.00000000"), is_snapshot=True)],
    [
        BalanceFact(asset="BRICK", balance=Decimal("439.9736"), is_snapshot=True),
        BalanceFact(asset="KAR", balance=Decimal("774.6366982600"), is_snapshot=True),
        BalanceFact(asset="KEEP", balance=Decimal("622.3962481300"), is_snapshot=True),
        BalanceFact(asset="MULTI", balance=Decimal("5.5971035500"), is_snapshot=True),
        BalanceFact(asset="USD", balance=Decimal("1.34"), is_snapshot=True),
    ],
    [BalanceFact(asset="USD", balance=Decimal("118.0677"), amount=Decimal("-19.9743"), fee=Decimal("0.0499"))],
    [BalanceFact(asset="ADX", balance=Decimal("147.1906006900"), amount=Decimal("111.0857412800"),
                 fee=Decimal("0.0000000000"))],
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BALANCES)))
def test_every_genuine_balance_is_told(number):
    facts = [event for event in told_by(BALANCES[number]) if isinstance(event, BalanceFact)]

    assert facts == BALANCE_FACTS[number]
    assert [str(fact.balance) for fact in facts] == [str(fact.balance) for fact in BALANCE_FACTS[number]]


def test_a_leg_of_an_earning_wallet_is_no_balance_to_trade_with():
    leg = {"asset": "MATIC", "balance": 200, "amount": 5, "wallet_type": "earn", "wallet_id": "flex"}

    assert Venue().live().tell(frame("balances", 2, leg)) == []


@pytest.mark.parametrize("line", lines("ws_session.jsonl"))
def test_no_genuine_frame_of_a_session_is_odd(line):
    venue = Venue().connect()
    venue.tell(line)

    assert venue.session.oddities.malformed == venue.session.oddities.unknown == 0


@pytest.mark.parametrize("name", ["rate_count", "ratecount"])
@pytest.mark.parametrize("value", ["17.5", '"17.5"'])
def test_the_rate_counter_is_read_under_any_name_that_clients_know(name, value):
    row = f'{{"exec_type":"new","order_id":"O1","{name}":{value},"a_new_field":[1]}}'
    (fact,) = told_by(f'{{"channel":"executions","type":"update","data":[{row}],"sequence":2}}'.encode())

    assert fact.rate_count == Decimal("17.5")


def test_an_unknown_kind_of_execution_is_told_all_the_same():
    (fact,) = told_by(frame("executions", 2, {"exec_type": "novelty", "order_id": "O1", "cum_qty": 1}))

    assert (fact.exec_type, fact.cum_qty) == ("novelty", 1)


# --- rows as facts


def test_a_row_cannot_say_what_only_the_engine_knows():
    """Names of our own in a row are fields that we do not know: they are not taken for the fact's."""
    row = {"exec_type": "new", "order_id": "O1", "is_snapshot": True, "received_at": 7, "trigger_price": 5,
           "fee_preference": "base", "is_fee_asset_told": False, "liquidity": "m", "fact": "x"}  # fmt: skip
    (fact,) = told_by(frame("executions", 2, row))

    assert crossed(fact) == ExecutionFact(exec_type="new", order_id="O1", timestamp=0, received_at=T0)


@pytest.mark.parametrize("line", EXECUTIONS)
def test_nothing_but_the_fact_crosses_the_ring(line):
    """What a row has only on the wire is in the fact's own fields, and in no record."""
    facts = [event for event in told_by(line) if isinstance(event, ExecutionFact)]
    names = {field.encode_name for field in msgspec.structs.fields(ExecutionFact)} | {"fact"}

    for fact in facts:
        record = ACCOUNT_FACTS.pack(fact)
        assert msgspec.msgpack.decode(record[4:]).keys() <= names


WIRE_ONLY = {
    "an amount of money beside the quantity": ({"order_qty": 5, "cash_order_qty": 50}, {}),
    "a limit that is a distance": ({"limit_price": 5, "limit_price_type": "pct"}, {}),
    "a limit": ({"limit_price": 5, "limit_price_type": "static"}, {"limit_price": Decimal(5)}),
    "fees in the base currency": ({"fee_ccy_pref": "fcib"}, {"fee_preference": "base"}),
    "fees in the quote currency": ({"fee_ccy_pref": "fciq"}, {}),
    "a trigger": ({"triggers": {"price": 7, "status": "untriggered"}}, {"trigger_price": Decimal(7)}),
    "a trigger of null": ({"triggers": None}, {}),
    "fees of null": ({"fees": None}, {}),
    "a reason of a cancel": ({"cancel_reason": "User requested"}, {"reason": "User requested"}),
    "two reasons": ({"reason": "one", "cancel_reason": "two"}, {"reason": "one"}),
    "no reason": ({"reason": "", "cancel_reason": ""}, {}),
    "a reason too long": ({"reason": "é" * 200}, {"reason": "é" * 100}),
    "a time in force": ({"time_in_force": "GTC"}, {"time_in_force": "gtc"}),
    "no time in force": ({"time_in_force": ""}, {}),
    "no userref": ({"order_userref": 0}, {}),
    "both counters": ({"rate_count": 1, "ratecount": 2}, {"rate_count": Decimal(1)}),
    "a time that is a number": ({"timestamp": 1700000000}, {}),
}


@pytest.mark.parametrize(("wire", "fact"), WIRE_ONLY.values(), ids=WIRE_ONLY)
def test_what_is_only_on_the_wire_is_told_in_the_facts_own_words(wire, fact):
    """And what says nothing leaves the fact's default."""
    row = {"exec_type": "new", "order_id": "O1", **wire}
    told = next(event for event in told_by(frame("executions", 2, row)) if isinstance(event, ExecutionFact))

    assert crossed(told) == ExecutionFact(exec_type="new", order_id="O1", timestamp=0, received_at=T0, **fact)


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_a_message_is_the_same_in_whatever_order_its_fields_stand(channel):
    """One that begins as Kraken's do is decoded at once, any other after a look at what it is."""
    rows = [{"exec_type": "new", "order_id": "O1"}] if channel == "executions" else [{"asset": "USD", "balance": 5}]
    usual = {"channel": channel, "type": "update", "data": rows, "sequence": 2}
    orders = [usual, dict(reversed(usual.items())), {"type": "update", **usual}]
    frames = [json.dumps(each, separators=separators).encode() for each in orders for separators in ((",", ":"), None)]

    told = [[crossed(fact) for fact in Venue().live().tell(each)] for each in frames]
    assert told == [told[0]] * 6
    assert told[0]


def test_an_error_that_names_its_channel_is_an_answer():
    """It is not taken for a message of the channel that cannot be read."""
    venue = Venue().live()
    error = b'{"channel":"executions","error":"EGeneral:Internal error","method":"subscribe","success":false}'
    venue.tell(error)

    assert venue.told(FeedLost) == []
    assert venue.session.oddities.malformed == 0


# --- connecting


def test_nothing_is_asked_before_there_is_a_token():
    venue = Venue()
    venue.session.opened(T0)

    assert venue.take() == []
    assert venue.session.wants_token


def test_with_a_token_both_channels_are_asked_for_with_their_snapshots():
    requests = Venue().connect().take()

    assert [request["params"] for request in requests] == [
        {"channel": "executions", "snap_orders": True, "snap_trades": True, "ratecounter": True, "token": "the token"},
        {"channel": "balances", "snapshot": True, "token": "the token"},
    ]


def test_the_session_is_live_with_both_snapshots_and_knows_the_tier():
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.acknowledge(executions)
    assert not venue.session.is_live
    venue.acknowledge(balances)

    assert venue.session.is_live
    assert venue.told(SnapshotEnded) == [SnapshotEnded("executions", 125, T0), SnapshotEnded("balances", None, T0)]


def test_a_lost_connection_is_told_and_wants_a_fresh_token():
    venue = Venue().live()

    assert list(venue.session.closed(venue.now, "reset by peer")) == [FeedLost("connection lost: reset by peer")]
    assert not venue.session.is_live
    venue.session.opened(venue.now + S)
    assert venue.session.wants_token


def test_what_waited_for_a_missing_message_is_told_when_the_connection_is_lost():
    venue = Venue().live()
    venue.tell(execution(3))
    told = list(venue.session.closed(venue.now, "gone"))

    assert ids(told) == ["O3"]


def test_a_refused_token_is_told_once_and_a_new_one_asks_again():
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.refuse(executions, "ESession:Invalid session")
    venue.refuse(balances, "ESession:Invalid session")

    assert venue.events == [TokenRefused("ESession:Invalid session")]
    assert venue.session.wants_token
    venue.poll(60 * S)
    assert {request["method"] for request in venue.take()} <= {"ping"}
    venue.session.authorise("another", venue.now)
    assert {request["params"]["token"] for request in venue.take()} == {"another"}


def test_a_refused_channel_is_told_and_asked_for_ever_less_often():
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.acknowledge(balances)
    (told,) = venue.refuse(executions, "EGeneral:Permission denied")

    assert isinstance(told, ChannelRefused)
    assert "engine check" in told.advice
    gaps, last = [], venue.now
    for _ in range(2_000):
        venue.tell(HEARTBEAT)
        venue.poll(100 * MS)
        for request in venue.take():
            if request["method"] == "subscribe":
                gaps.append(venue.now - last)
                last = venue.now
                venue.refuse(request, "EGeneral:Permission denied")
            else:
                venue.acknowledge(request)
        assert venue.session.dead(venue.now) is None

    assert gaps == [RETRY_INTERVAL_NS * factor for factor in (1, 2, 4, 8, 12, 12)]


def test_already_subscribed_is_given_back_and_asked_again():
    """No snapshot comes with that refusal."""
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.acknowledge(balances)
    venue.refuse(executions, "Already subscribed")
    (leave,) = venue.take()
    assert leave["method"] == "unsubscribe"
    venue.acknowledge(leave)
    (ask,) = venue.take()
    venue.acknowledge(ask)

    assert venue.session.is_live


def test_an_acknowledgement_without_a_snapshot_is_not_enough():
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.acknowledge(balances)
    venue.tell(b'{"method":"subscribe","req_id":%d,"success":true,"result":{"channel":"executions"}}'
               % executions["req_id"])  # fmt: skip
    venue.now += SETTINGS.subscribe_deadline_ns
    venue.tell(HEARTBEAT)
    venue.poll()
    venue.answer()

    assert venue.session.is_live


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_snapshot_that_comes_when_its_channel_is_given_back_is_the_beginning_of_nothing(is_answered):
    """It was late: what it begins is over before long, and orders of the time until the next one would be missed."""
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.acknowledge(balances)
    venue.tell(b'{"method":"subscribe","req_id":%d,"success":true,"result":{"channel":"executions"}}'
               % executions["req_id"])  # fmt: skip
    venue.poll(SETTINGS.subscribe_deadline_ns)
    (given_back,) = venue.take()
    venue.events.clear()
    venue.tell(frame("executions", 1, kind="snapshot"))
    told = list(venue.events)
    if is_answered:
        venue.acknowledge(given_back)
    else:
        venue.poll(SETTINGS.subscribe_deadline_ns)
    (asked,) = [request for request in venue.take() if request["method"] != "ping"]
    venue.acknowledge(asked)

    assert (given_back["method"], asked["method"]) == ("unsubscribe", "subscribe")
    assert told == []
    assert venue.session.is_live


def test_a_venue_that_never_answers_costs_the_connection():
    """Though it answers pings: requests arrive, and nothing comes of them."""
    venue = Venue().connect()
    asked = 0
    while venue.session.dead(venue.now) is None and venue.now < T0 + 120 * S:
        for request in venue.take():
            asked += request["method"] == "subscribe"
            if request["method"] == "ping":
                venue.acknowledge(request)
        venue.tell(HEARTBEAT)
        venue.poll(500 * MS)

    assert asked == 2 * ATTEMPTS_MAX
    assert "no snapshot of" in venue.session.dead(venue.now)


def test_heartbeats_are_life_pongs_are_not():
    venue = Venue().live()

    assert venue.session.dead(venue.now + 3 * S) is None
    assert venue.session.dead(venue.now + 3 * S + 1)
    venue.now += 2 * S
    venue.tell(HEARTBEAT)
    assert venue.session.dead(venue.now + 3 * S) is None


def test_status_is_told():
    (event,) = Venue().live().tell(b'{"channel":"status","data":[{"system":"maintenance","connection_id":1}]}')

    assert isinstance(event, SystemChanged)
    assert event.system == "maintenance"


# --- the sequence


def test_updates_in_order_are_told_at_once():
    venue = Venue().live()

    assert [ids(venue.tell(execution(number))) for number in (2, 3, 4)] == [["O2"], ["O3"], ["O4"]]


def test_a_small_disorder_is_mended():
    venue = Venue().live()
    told = [ids(venue.tell(execution(number))) for number in (3, 4, 2, 5)]
    venue.poll(10 * S)

    assert told == [[], [], ["O2", "O3", "O4"], ["O5"]]
    assert venue.told(FeedLost) == []


def test_a_duplicate_is_told_once():
    venue = Venue().live()

    assert [ids(venue.tell(execution(number))) for number in (2, 2, 3, 2)] == [["O2"], [], ["O3"], []]
    assert venue.told(FeedLost) == []


def test_the_channels_are_counted_apart():
    venue = Venue().live()
    venue.tell(execution(2))
    venue.tell(frame("balances", 2, {"asset": "USD", "balance": 5}))
    venue.poll(10 * S)

    assert venue.told(FeedLost) == []
    assert len(venue.told(BalanceFact)) == 1


def test_a_missing_message_is_told_and_a_fresh_snapshot_asked_for():
    venue = Venue().live()
    venue.tell(execution(2))
    venue.tell(execution(4))
    assert venue.poll(SETTINGS.reorder_window_ns - 1) == []
    told = venue.poll(1)

    lost = FeedLost("executions message 3 is missing, 4 has come", "executions")
    assert told == [venue.told(ExecutionFact)[-1], lost]
    assert ids(told) == ["O4"]
    assert not venue.session.is_live
    (leave,) = venue.take()
    assert (leave["method"], leave["params"]["channel"]) == ("unsubscribe", "executions")
    venue.acknowledge(leave)
    (ask,) = venue.take()
    venue.now += 7 * MS
    venue.acknowledge(ask, [{"exec_type": "new", "order_id": "O3", "order_status": "new"}])
    assert ids(venue.events) == ["O2", "O4", "O3"]
    assert venue.events[-1] == SnapshotEnded("executions", 125, venue.now - 7 * MS)
    assert venue.session.is_live


def test_while_a_snapshot_is_awaited_facts_are_told_as_they_come():
    venue = Venue().live()
    venue.tell(execution(9))
    venue.poll(S)
    told = [ids(venue.tell(execution(number))) for number in (10, 12)]

    assert told == [["O10"], ["O12"]]
    assert len(venue.told(FeedLost)) == 1


def test_a_channel_that_keeps_losing_messages_is_asked_at_most_once_a_second():
    venue = Venue().live()
    asked = 0
    for _ in range(1_000):
        venue.sequence["executions"] += 2
        venue.tell(execution(venue.sequence["executions"]))
        venue.tell(HEARTBEAT)
        venue.poll(10 * MS)
        for request in venue.take():
            asked += request["method"] == "subscribe"
            venue.acknowledge(request)

    assert 3 <= asked <= 10 * S // RESYNC_INTERVAL_NS + 1


def test_a_repeated_snapshot_is_a_duplicate():
    venue = Venue().connect()
    executions, balances = venue.take()
    venue.acknowledge(balances)
    row = {"exec_type": "new", "order_id": "O7", "order_status": "new"}
    venue.acknowledge(executions, [row])
    venue.tell(frame("executions", 1, row, kind="snapshot"))

    assert ids(venue.events) == ["O7"]
    assert ids(venue.tell(execution(2))) == ["O2"]


def test_a_snapshot_that_nobody_asked_for_begins_the_numbers_anew():
    venue = Venue().live()
    for number in (2, 3, 5):
        venue.tell(execution(number))
    told = venue.tell(frame("executions", 1, {"exec_type": "new", "order_id": "O7"}, kind="snapshot"))

    assert ids(told) == ["O5", "O7"]
    assert ids(venue.tell(execution(2))) == ["O2"]
    venue.poll(10 * S)
    assert venue.told(FeedLost) == []


def test_another_connection_behind_the_same_socket_is_a_gap():
    venue = Venue().live()
    venue.tell(b'{"channel":"status","data":[{"system":"online","connection_id":1}]}')
    venue.tell(b'{"channel":"status","data":[{"system":"online","connection_id":2}]}')

    assert len(venue.told(FeedLost)) == 2
    venue.answer()
    assert venue.session.is_live


def test_a_token_refused_in_a_resynchronisation_is_told_and_the_new_one_mends_it():
    venue = Venue().live()
    venue.tell(execution(4))
    venue.poll(S)
    (leave,) = venue.take()
    venue.refuse(leave, "EAPI:Invalid token")
    assert venue.events[-1] == TokenRefused("EAPI:Invalid token")
    venue.session.authorise("another", venue.now)
    (ask,) = venue.take()
    venue.refuse(ask, "Already subscribed")
    venue.answer()

    assert venue.session.is_live
    assert venue.requests[-1]["params"]["token"] == "another"


@pytest.mark.parametrize("meanwhile", ["a gap", "already subscribed", "unsubscribed", "too late"])
def test_nothing_is_asked_between_a_refused_token_and_the_next(meanwhile):
    """Whatever comes of the other channel: without a token Kraken would refuse it."""
    venue = Venue().live() if meanwhile in ("a gap", "unsubscribed") else Venue().connect()
    if meanwhile == "a gap":
        venue.tell(execution(4))
        venue.poll(S)
        (asked,) = venue.take()
    elif meanwhile == "unsubscribed":
        venue.tell(b'{"channel":"status","data":[{"system":"online","connection_id":1}]}')
        venue.tell(b'{"channel":"status","data":[{"system":"online","connection_id":2}]}')
        asked, other = venue.take()
    else:
        asked, other = venue.take()
    venue.refuse(asked, "EAPI:Invalid token")
    if meanwhile == "a gap":
        venue.tell(frame("balances", 7))
    elif meanwhile == "already subscribed":
        venue.refuse(other, "Already subscribed")
    elif meanwhile == "unsubscribed":
        venue.acknowledge(other)
    for _ in range(8):
        venue.poll(S)
        venue.tell(HEARTBEAT)
    assert [request for request in venue.take() if request["method"] != "ping"] == []

    venue.session.authorise("another", venue.now)
    venue.poll()
    venue.answer()
    assert venue.session.is_live


# --- odd frames


@pytest.mark.parametrize(
    "row",
    [{"exec_type": "trade", "order_id": 7}, {"exec_type": "trade", "order_id": "O1", "last_qty": "x"},
     {"exec_type": "new"}, {"order_id": "O1"}, 5],
)  # fmt: skip
def test_a_message_that_cannot_be_read_is_a_lost_one(row):
    """It was a message of the channel: a fill may have been in it."""
    venue = Venue().live()
    told = venue.tell(frame("executions", 2, row))

    assert [type(event) for event in told] == [FrameNotUnderstood, FeedLost]
    venue.answer()
    assert venue.session.is_live


@pytest.mark.parametrize(
    "field", [{"trade_id": "7"}, {"trade_id": [7]}, {"margin": "yes"}, {"triggers": 5}, {"reason": 9}]
)
def test_a_field_that_decides_nothing_may_change_its_type(field):
    """Kraken changes types without a version; a fill must not be lost for its remarks."""
    venue = Venue().live()
    row = {"exec_type": "trade", "order_id": "O1", "exec_id": "T1", "last_qty": 0.5, "last_price": 7, **field}
    told = venue.tell(frame("executions", 2, row))

    assert [(fact.exec_id, fact.last_qty) for fact in told if isinstance(fact, ExecutionFact)] == [
        ("T1", Decimal("0.5"))
    ]
    assert venue.told(FeedLost) == []
    assert ids(venue.tell(execution(3))) == ["O3"]


def test_numbers_that_become_text_are_still_numbers():
    row = b'{"exec_type":"trade","order_id":"O1","order_userref":"5","last_qty":"0.10","trade_id":"7"}'
    told = told_by(b'{"channel":"executions","type":"update","data":[%b],"sequence":2}' % row)

    fact = told[0]
    assert (fact.order_userref, str(fact.last_qty), fact.trade_id) == (5, "0.10", 7)


def test_a_torn_message_is_a_lost_one():
    venue = Venue().live()
    told = venue.tell(execution(2)[:-9])

    assert FeedLost in map(type, told)


@example(["lose", "twice", "swap", "twice", "swap", "lose", "lose", "twice", "lose"])
@given(st.lists(st.sampled_from(["lose", "twice", "swap", "tell", "tell", "poll", "cut", "noise"]), max_size=40))
def test_whatever_happens_on_the_way_every_order_is_told_or_the_loss_is(steps):
    """A model venue with orders that appear one by one; whoever follows snapshots and updates knows each of them."""
    venue = Venue().live()
    existing, known, kept = [], set(), None
    is_complete = True

    def follow(events):
        nonlocal is_complete
        for event in events:
            if isinstance(event, FeedLost):
                is_complete = False
            elif isinstance(event, SnapshotEnded) and event.channel == "executions":
                is_complete = True
            elif isinstance(event, ExecutionFact):
                known.add(event.order_id)

    def serve():
        nonlocal kept
        for request in venue.take():
            if kept is not None and request["method"] == "unsubscribe" and request["params"]["channel"] == "executions":
                # Nothing of a subscription comes after its end, where its number may be that of another message.
                follow(venue.tell(kept))
                kept = None
            rows = [{"exec_type": "new", "order_id": order} for order in existing]
            before = len(venue.events)
            venue.acknowledge(request, rows if request.get("params", {}).get("channel") == "executions" else ())
            follow(venue.events[before:])

    for step in steps:
        if step in ("lose", "twice", "swap", "tell"):
            venue.sequence["executions"] += 1
            order = f"order {len(existing)}"
            existing.append(order)
            text = frame("executions", venue.sequence["executions"], {"exec_type": "new", "order_id": order})
            if step == "swap" and kept is None:
                kept = text
            elif step != "lose":
                follow(venue.tell(text))
                if kept is not None:
                    follow(venue.tell(kept))
                    kept = None
                if step == "twice":
                    follow(venue.tell(text))
        elif step == "cut":
            follow(venue.session.closed(venue.now, "cut"))
            kept = None
            venue.connect()
        elif step == "noise":
            venue.tell(b"noise")
        follow(venue.poll(300 * MS))
        serve()
        venue.tell(HEARTBEAT)
    venue.sequence["executions"] += 1
    follow(venue.tell(execution(venue.sequence["executions"])))
    for _ in range(20):
        follow(venue.poll(500 * MS))
        serve()
        serve()
        venue.tell(HEARTBEAT)

    assert is_complete
    assert venue.session.is_live
    assert known >= set(existing)


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(
           st.sampled_from(["method", "req_id", "result", "success", "channel", "data", "type", "sequence"]), inner))
       .map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_that_can_be_received_raises(frame_):
    venue = Venue().live()
    venue.tell(frame_)
    venue.poll(S)
    assert all(repr(event) for event in venue.events)
