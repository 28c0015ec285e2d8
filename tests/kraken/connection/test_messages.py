"""Typed messages: what of Kraken's fields arrives, with every digit of its text."""

from decimal import Decimal

import pytest

from engine.kraken.connection.messages import decode_envelope, decode_reply
from engine.kraken.public import messages
from tests.kraken.wire import frames


def test_the_ticker_of_2024_and_that_of_2026():
    """With and without timestamp, trades and volume_usd: the shapes that came and went."""
    first, second, third, alg, old, older = (messages.decode_ticker(f).data[0] for f in frames("ticker.jsonl"))

    assert (first.bid, first.change_pct, str(first.volume)) == (Decimal("3207.04"), Decimal("-3.60"), "2173.29284504")
    assert str(first.change_pct) == "-3.60"
    assert str(third.ask_qty) == "0.00044780"
    assert str(alg.last) == "0.13110"
    assert (old.timestamp, older.timestamp) == ("", "")
    assert second.timestamp == "2026-01-19T15:05:26.339692Z"


def test_a_ticker_of_a_pair_that_never_traded():
    """`last` is promised only within 24 hours of a trade: what is missing is zero."""
    (ticker,) = messages.decode_ticker(b'{"channel":"ticker","data":[{"symbol":"A/B","bid":1.5}]}').data

    assert (ticker.bid, ticker.last, ticker.vwap) == (Decimal("1.5"), 0, 0)


def test_a_trade_with_every_digit():
    """Side of the aggressor, its order type, the number on the tape."""
    trade = messages.decode_trade(frames("trade.jsonl")[1]).data[0]

    assert (trade.symbol, trade.side, trade.ord_type, trade.trade_id) == ("BTC/USD", "buy", "limit", 109116693)
    assert (str(trade.price), str(trade.qty)) == ("83744.3", "0.00044780")
    assert trade.timestamp == "2026-09-25T17:48:26.844359Z"


def test_all_trades_of_a_message():
    """One taker order, several fills: none is dropped."""
    counts = [len(messages.decode_trade(frame).data) for frame in frames("trade.jsonl")]

    assert counts == [1, 1, 2, 2]


def test_candles_of_every_year():
    """The envelope's timestamp has nine decimals, or six; rows of a snapshot come oldest first."""
    envelopes = [messages.decode_candle(frame) for frame in frames("ohlc.jsonl")]

    assert [len(envelope.data) for envelope in envelopes][1:5] == [1, 1, 1, 1]
    assert envelopes[3].timestamp == "2026-10-06T18:06:02.918011Z"
    for envelope in envelopes:
        begins = [candle.interval_begin for candle in envelope.data]
        assert begins == sorted(begins)
    candle = envelopes[2].data[0]
    assert (candle.interval, candle.trades, str(candle.volume)) == (1, 5, "0.00126522")


PAIR = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[{"symbol":"A/B","qty_precision":8,'
    b'"price_precision":1,"qty_increment":%s,"price_increment":%s,"cost_min":%s,"qty_min":%s}]}}'
)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((b"0.00000001", b"0.1", b"0.50", b"0.00005"), ("1E-8", "0.1", "0.50", "0.00005")),
        ((b"1e-08", b"1e-1", b'"0.50"', b"5e-05"), ("1E-8", "0.1", "0.50", "0.00005")),
        ((b"1E-8", b"1", b'"5"', b"1e2"), ("1E-8", "1", "5", "1E+2")),
    ],
)
def test_instrument_numbers_in_every_spelling(numbers, expected):
    """`cost_min` as number or text, plain or with exponent: the same exact numbers."""
    (pair,) = messages.decode_instrument(PAIR % numbers).data.pairs
    found = (pair.qty_increment, pair.price_increment, pair.cost_min, pair.qty_min)

    assert found == tuple(map(Decimal, expected))


def test_genuine_instruments():
    """Both snapshots, 2024 and 2026: precisions, increments, margin and status."""
    new, old = (messages.decode_instrument(frame).data for frame in frames("instrument.jsonl"))
    pairs = {pair.symbol: pair for pair in (*old.pairs, *new.pairs)}

    assert (pairs["EUR/USD"].price_precision, pairs["EUR/USD"].qty_precision) == (5, 8)
    assert {pair.status for pair in pairs.values()} >= {"online"}
    assert {asset.id for asset in new.assets} >= {"USD", "EUR"}


def test_level3_in_both_orders_of_keys():
    """Checksum first or the sides first; nanoseconds; an event a row, except in a snapshot."""
    decoded = [messages.decode_level3(frame).data[0] for frame in frames("level3.jsonl")]

    assert [entry.checksum for entry in decoded] == [4239577768, 281817320, 2841398499, 1361442827, 2143854316]
    assert decoded[0].asks[0].event == "delete"
    assert {order.event for order in decoded[1].bids} == {"add"}
    assert decoded[4].timestamp == "2024-05-19T18:59:44.999999999Z"
    assert str(decoded[4].bids[0].order_qty) == "0.22540000"


def test_the_level3_example_of_the_guide_is_decoded_whole():
    """14 asks and 21 bids, and the checksum that a book of orders will have to reach."""
    (entry,) = messages.decode_level3(frames("doc_level3_checksum_official_example.jsonl")[0]).data

    assert (len(entry.asks), len(entry.bids), entry.checksum) == (14, 21, 1063832831)


def test_replies_of_every_kind():
    """Acknowledgements with warnings, without a symbol, with numbers of 64 bits; errors; a pong has no success."""
    acks = [decode_reply(frame) for frame in frames("acks.jsonl")]
    errors = [decode_reply(frame) for frame in frames("errors.jsonl")]
    pong = decode_reply(frames("status_heartbeat_pong.jsonl")[-1])

    assert all(ack.success and ack.result and ack.error is None for ack in acks)
    assert [ack.result.symbol for ack in acks if ack.result.channel == "instrument"] == [None, None]
    assert [ack.result.depth for ack in acks if ack.result.channel == "book"] == [10] * 5
    assert acks[9].result.warnings == ["timestamp is deprecated, use interval_begin"]
    assert all(error.success is False and error.error and error.result is None for error in errors)
    assert [error.symbol for error in errors[:4]] == ["WWW/USD", "XBT/USD", "XBT/USDT", None]
    assert (pong.method, pong.req_id, pong.success) == ("pong", 694480169830934, None)


def test_an_error_with_a_channel_is_a_reply():
    """One genuine error carries both `channel` and `method`: the method decides."""
    envelope = decode_envelope(frames("errors.jsonl")[6])

    assert (envelope.method, envelope.channel) == ("subscribe", "executions")
