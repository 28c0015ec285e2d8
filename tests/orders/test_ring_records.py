"""A record that cannot be read is one lost record: not the end of a process, nor of its successors."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from engine.errors import MisuseError, UnreadableRecord
from engine.orders.intent import OrderIntent
from engine.orders.life import OrderState
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.rings.commands import (
    COMMAND_RECORD_BYTES,
    COMMANDS,
    PLAIN,
    CancelAll,
    Submit,
    SubmitBatch,
    pack_plain,
)
from engine.orders.rings.framing import LENGTH, TOLD_MAX, RingRecords
from engine.orders.rings.reports import REPORTS, OrderReport
from engine.orders.venue_facts import FeedAlive
from engine.ring import GatedSubscriber, Publisher
from engine.units import NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.order_router.rig import RouterRig, ring
from tests.orders.rig import fact, submitted

AT = 1_800_000_000 * NS_PER_S


def wrong(**fields: Any) -> bytes:
    """An order as a plugin once made it: a Struct takes what it is given, and so does the encoder."""
    intent = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="limit", price_decimals=1, qty_decimals=8, qty=QtyLots(1), **fields
    )
    return COMMANDS.pack(Submit("quoter", "key", intent, MonoNs(AT), MonoNs(0)))


def framed(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


def plain(shape: bytes) -> bytes:
    return pack_plain(shape, "quoter000000000001", PriceTicks(1), QtyLots(1), MonoNs(AT), MonoNs(0))


POISON = {
    "a word for a moment": wrong(expire_at="tomorrow"),
    "a word for a closing order": wrong(conditional="x"),
    "a side of its own": COMMANDS.pack(
        Submit(
            "quoter",
            "key",
            OrderIntent(
                symbol="X",
                side="bid",  # type: ignore[arg-type]
                order_type="limit",
                price_decimals=1,
                qty_decimals=8,
                qty=QtyLots(1),
            ),
            MonoNs(AT),
            MonoNs(0),
        )
    ),
    "a batch of none": COMMANDS.pack(SubmitBatch("quoter", [], MonoNs(AT), MonoNs(0))),
    "a message of another ring": framed(msgspec.msgpack.encode(["nobody's", 1])),
    "a nesting without end": framed(b"\x91" * 4000),
    "no MessagePack": framed(b"\xc1" * 50),
    "a length beyond the slot": LENGTH.pack(2**32 - 1) + b"\x91\xa1x",
    "nothing": b"",
    "a plain order of zeros": LENGTH.pack(PLAIN | 100),
    "a plain order of nothing": LENGTH.pack(PLAIN),
    "a plain order whose names are no Unicode": plain(b"\0\x01\x08\x04\xff\0\xff\xff"),
    "a plain order with flags that do not exist": plain(b"\xf0\x01\x08\x03a\0b"),
    "a plain order that neither rests nor trades": plain(b"\x06\x01\x08\x03a\0b"),
    "a plain order without a pair": plain(b"\0\x01\x08\x01a"),
    "noise": bytes(range(256)) * 15,
}  # fmt: skip
FACT = FeedAlive(MonoNs(1), MonoNs(2))


# --- the codec


@pytest.mark.parametrize("kind", POISON)
@pytest.mark.parametrize("framing", [COMMANDS, ACCOUNT_FACTS, REPORTS], ids=["commands", "account", "reports"])
def test_the_codec_says_what_a_record_holds(framing: Any, kind: str) -> None:
    """One kind of error for all that a slot may hold, on one line, and short."""
    with pytest.raises(UnreadableRecord, match=r"it holds \d+ bytes, beginning b") as unreadable:
        framing.unpack(POISON[kind].ljust(COMMAND_RECORD_BYTES, b"\0"))

    assert "\n" not in str(unreadable.value)
    assert len(str(unreadable.value)) < 1000


@pytest.mark.parametrize(
    "value", [2**64, object(), "\ud800", 1 << 5000], ids=["65 bits", "object", "text", "5000 bits"]
)
def test_what_cannot_be_written_is_one_kind_of_error(value: Any) -> None:
    """The order client tells the strategy of it."""
    with pytest.raises(MisuseError, match="cannot be written"):
        COMMANDS.pack(CancelAll("quoter", value))


# --- one ring


@pytest.mark.parametrize("kind", POISON)
def test_the_records_around_it_come_and_it_comes_never_again(kind: str) -> None:
    """Neither to this reader nor to its successor."""
    memory = ring(COMMAND_RECORD_BYTES)
    publisher, reader, records = Publisher(memory), GatedSubscriber(memory), RingRecords(COMMANDS, "commands")
    good = [CancelAll("quoter", str(number)) for number in range(4)]
    for record in (COMMANDS.pack(good[0]), COMMANDS.pack(good[1]), POISON[kind], *map(COMMANDS.pack, good[2:])):
        assert publisher.try_publish(record)

    with capture_logs() as logs:
        assert list(records.read_all(reader.poll_many(64))) == good
        assert reader.poll() is None

    assert records.unreadable == 1
    assert [(entry["event"], entry["log_level"], entry["ring"]) for entry in logs] == [
        ("unreadable record", "error", "commands")
    ]
    assert GatedSubscriber(memory).poll() is None


def test_a_ring_full_of_noise_is_counted_and_told_a_hundred_times() -> None:
    """A log has a bound, too."""
    records = RingRecords(COMMANDS, "commands")

    with capture_logs() as logs:
        assert list(records.read_all([b"\xff" * 100] * (3 * TOLD_MAX))) == []

    assert (records.unreadable, len(logs)) == (3 * TOLD_MAX, TOLD_MAX)


# --- the order router


def order(rig: RouterRig, key: str) -> bytes:
    """A command that can be read, and is refused for want of a connection."""
    intent = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="market", price_decimals=1, qty_decimals=8, qty=QtyLots(1)
    )
    return COMMANDS.pack(Submit("quoter", key, intent, rig.clock.mono_ns(), MonoNs(0)))


def test_a_command_that_cannot_be_read_holds_up_nobody() -> None:
    """The commands around it are looked at; a successor does not find it again."""
    rig = RouterRig()
    poison = list(POISON.values())
    for record in (order(rig, "before"), *poison, order(rig, "after")):
        assert rig.commands.try_publish(record)
    with capture_logs() as logs:
        rig.work()
    told = [it for it in rig.told() if isinstance(it, OrderReport)]
    unreadable = rig.core.records.counts["records_unreadable"]
    rig.begin_anew()

    assert [(it.key, it.state) for it in told] == [("before", OrderState.REFUSED), ("after", OrderState.REFUSED)]
    assert unreadable == len(poison)
    assert sum(entry["event"] == "unreadable record" for entry in logs) == len(poison)
    assert rig.router.do_work() == 0
    assert rig.core.records.counts["records_unreadable"] == 0


def test_a_fact_that_cannot_be_read_is_asked_of_kraken() -> None:
    """It may have been the end, or a fill, of any open order."""
    rig = RouterRig()
    rig.know_pairs()
    for key in ("acknowledged", "on its way"):
        rig.core.records.commit([submitted(key=key, at=rig.clock.wall_ns())])
    rig.fact(fact("new", order_id="O1", cl_ord_id="acknowledged"))
    for record in (ACCOUNT_FACTS.pack(FACT), framed(b"\x93\xa1?\x01\x02"), ACCOUNT_FACTS.pack(FACT)):
        assert rig.account.try_publish(record)
    with capture_logs() as logs:
        taken = rig.router.do_work(), rig.router.do_work()
    rig.work_for(NS_PER_S)
    question = rig.take_call("QueryOrders")

    assert taken == (3, 0)
    assert question.request.fields["txid"] == "O1"
    assert [entry["ring"] for entry in logs if entry["event"] == "unreadable record"] == ["account"]
    assert rig.core.records.counts["records_unreadable"] == 1
