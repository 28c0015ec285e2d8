# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The order side's hot path, compiled: a plain order from the strategy's call to its record, and from the record to the
bytes on the wire. Everything here has a portable twin, which is where its contract is written.

It says only yes. Whatever is not plainly in order, whatever has more than 62 bits, and whatever it has not seen before
goes to the portable code, which decides as if this had not been there: until the journal is written nothing has changed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_SetFromErrno
cimport cython

from libc.errno cimport ENOSPC
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #ifndef ENGINE_SOURCE_HASH
    #define ENGINE_SOURCE_HASH ""
    #endif
    """
    const char* ENGINE_SOURCE_HASH

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeLatin1(const char* text, Py_ssize_t size, const char* errors)

cdef extern from "unistd.h" nogil:
    ssize_t write(int fd, const void* buffer, size_t size)

cdef extern from "crc32.h" nogil:
    void crc32_init()
    uint32_t crc32_of(uint32_t crc, const char* text, size_t size)

cdef extern from "order_text.h" nogil:
    enum: UNITS_BYTES_MAX, NUMBER_BYTES_MAX, PACKED_INT_BYTES_MAX, ORDER_DECIMALS_MAX
    int put_number(char* out, uint64_t number)
    int put_units(char* out, int64_t units, uint32_t decimals)
    int put_packed_int(char* out, int64_t number)
    int64_t units_in(const char* text, size_t size, uint32_t decimals)

cdef extern from "plain_check.h" nogil:
    ctypedef long long int128  # as wide as the C file says
    const int64_t PLAIN_MAX
    int128 wide_of(uint64_t high, uint64_t low)
    bint has_decayed(int64_t level, int64_t for_ns, int64_t decay, int64_t level_max)
    ctypedef struct PlainBounds:
        int64_t qty_min, qty_step, price_step, qty_max, orders_max, position_max, reach_up, reach_down
        int128 cost_min, notional_max, position_notional_max
    ctypedef struct PlainMarket:
        int64_t order_count, buy_lots, sell_lots, held_min, held_max, nearest_sell, nearest_buy, best_bid, best_ask
    bint is_plainly_within(const PlainBounds* bounds, const PlainMarket* market, bint is_sell, int64_t ticks,
                           int64_t lots)

crc32_init()

SOURCE_HASH = ENGINE_SOURCE_HASH.decode("ascii")

cdef enum:
    NS_PER_MS = 1_000_000
    NS_PER_S = 1_000_000_000
    KEY_BYTES = 18
    SHAPE_AT = 54
    TERMS_BYTES = 4
    HEAD_BYTES = 20
    SHAPES_MAX = 4096

cdef uint32_t PLAIN = 0x80000000  # added to the length

cdef packed struct PlainNumbers:
    uint32_t length
    int64_t issued_at
    int64_t tick_at
    int64_t ticks
    int64_t lots
    char key[KEY_BYTES]


cdef inline bint as_amount(object number, int64_t* out) except -1:
    """The number, when it is a whole one of 62 bits."""
    cdef int overflow
    if type(number) is not int:
        return False
    out[0] = PyLong_AsLongLongAndOverflow(number, &overflow)
    return overflow == 0 and -PLAIN_MAX < out[0] < PLAIN_MAX


cdef inline bint as_bound(object number, int64_t* out) except -1:
    """The number, or PLAIN_MAX, which holds nothing back, for one that is larger."""
    if as_amount(number, out):
        return True
    out[0] = PLAIN_MAX
    return number >= PLAIN_MAX


cdef inline bint as_wide_bound(object number, int128* out) except -1:
    """The same for products of two amounts."""
    if number < 0:
        return False
    if number.bit_length() > 125:
        out[0] = wide_of(<uint64_t>1 << 61, 0)
    else:
        out[0] = wide_of(number >> 64, number & 0xFFFFFFFFFFFFFFFF)
    return True


cdef inline char* put(char* out, bytes text):
    memcpy(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return out + PyBytes_GET_SIZE(text)


cdef inline char* put_bytes(char* out, const char* text, size_t size) noexcept:
    memcpy(out, text, size)
    return out + size


def write_records(int fd, uint64_t sequence, tuple payloads not None):
    """See engine.orders.journal; engine/orders/journal_format.py has the drawing."""
    cdef size_t size = 0, payload_size
    cdef ssize_t written
    cdef bytes payload, records
    cdef char* out
    for payload in payloads:
        size += HEAD_BYTES + PyBytes_GET_SIZE(payload)
    records = PyBytes_FromStringAndSize(NULL, size)
    out = PyBytes_AS_STRING(records)
    for payload in payloads:
        payload_size = PyBytes_GET_SIZE(payload)
        put_little(out, payload_size, 4)
        put_little(out + 4, sequence, 8)
        put_little(out + 12, crc32_of(0, out, 12), 4)
        put_little(out + 16, crc32_of(0, PyBytes_AS_STRING(payload), payload_size), 4)
        out = put(out + HEAD_BYTES, payload)
        sequence += 1
    out = PyBytes_AS_STRING(records)
    with nogil:
        written = write(fd, out, size)
    if written < 0:
        PyErr_SetFromErrno(OSError)
    if <size_t>written != size:
        raise OSError(ENOSPC, f"only {written} of {size} bytes fitted")
    return written


cdef inline void put_little(char* out, uint64_t number, int size) noexcept:
    cdef int k
    for k in range(size):
        out[k] = <char>(number >> (8 * k))


# --- the strategy's side

cdef class CommandShape:
    """What plain orders of one pair and kind have in common."""

    cdef object pair
    cdef bytes packed
    cdef int64_t price_decimals, qty_decimals, price_step, qty_step
    cdef bint is_usual  # its numbers have 62 bits


cdef class PlainCommands:
    """See engine.strategy_host.order_client."""

    cdef object portable, keys, Decimal
    cdef list shapes  # by flags, then by symbol

    def __init__(self, strategy, keys):
        from decimal import Decimal

        from engine.strategy_host.order_client import PortablePlainCommands

        self.portable, self.keys, self.Decimal = PortablePlainCommands(strategy, keys), keys, Decimal
        self.shapes = [{} for _ in range(8)]

    def pack(self, pair, side, qty, options, int64_t issued_at, int64_t tick_at):
        cdef int flags = self.flags_of(side, options)
        cdef CommandShape shape
        cdef int64_t ticks, lots
        cdef Py_ssize_t key_size
        cdef bytes record
        cdef PlainNumbers* numbers
        cdef const char* key_text
        if flags < 0:
            return self.portable.pack(pair, side, qty, options, issued_at, tick_at)
        shape = (<dict>self.shapes[flags]).get(pair.symbol)
        if shape is None or shape.pair is not pair:
            shape = self.prepare(pair, flags)
        if shape.is_usual:
            ticks = self.units(options["limit"], shape.price_decimals)
            lots = self.units(qty, shape.qty_decimals)
        if not shape.is_usual or ticks <= 0 or lots <= 0:
            return self.portable.pack(pair, side, qty, options, issued_at, tick_at)
        if ticks % shape.price_step or lots % shape.qty_step:
            return None
        key = next(self.keys)
        record = PyBytes_FromStringAndSize(NULL, SHAPE_AT + PyBytes_GET_SIZE(shape.packed))
        numbers = <PlainNumbers*>PyBytes_AS_STRING(record)
        memset(numbers, 0, SHAPE_AT)
        numbers.length = PLAIN | <uint32_t>(PyBytes_GET_SIZE(record) - 4)
        numbers.issued_at, numbers.tick_at, numbers.ticks, numbers.lots = issued_at, tick_at, ticks, lots
        key_text = PyUnicode_AsUTF8AndSize(key, &key_size)
        memcpy(numbers.key, key_text, min(key_size, KEY_BYTES))
        put(PyBytes_AS_STRING(record) + SHAPE_AT, shape.packed)
        return record, key, ticks, lots

    cdef int flags_of(self, side, options) except -2:
        """The order's kind, as in engine.orders.intent; -1 when the portable code must read it."""
        cdef int flags
        if type(options) is not dict or type(side) is not str:
            return -1
        if side == "buy":
            flags = 0
        elif side == "sell":
            flags = 1
        else:
            return -1
        has_limit = False
        for name, value in (<dict>options).items():
            if name == "limit":
                has_limit = True
            elif name == "post_only" and type(value) is bool:
                if value:
                    flags |= 2
            elif name == "time_in_force" and type(value) is str and (value == "gtc" or value == "ioc"):
                if value == "ioc":
                    flags |= 4
            elif name != "tag":
                return -1
        return flags if has_limit and flags & 6 != 6 else -1

    cdef CommandShape prepare(self, pair, int flags):
        cdef CommandShape shape = CommandShape.__new__(CommandShape)
        shape.pair, shape.packed = pair, self.portable.shape_of(pair, flags)
        shape.is_usual = (
            len(shape.packed) > 0
            and as_amount(pair.price_decimals, &shape.price_decimals)
            and as_amount(pair.qty_decimals, &shape.qty_decimals)
            and as_amount(pair.price_increment_ticks, &shape.price_step)
            and as_amount(pair.qty_increment_lots, &shape.qty_step)
            and shape.price_step > 0
            and shape.qty_step > 0
        )
        self.shapes[flags][pair.symbol] = shape
        return shape

    cdef int64_t units(self, number, int64_t decimals) except -1:
        """The amount in units of 10**-decimals; 0 when the portable code must read it."""
        cdef Py_ssize_t size
        cdef const char* text
        cdef int64_t whole
        kind = type(number)
        if kind is int:  # the text of a large one raises
            if not as_amount(number, &whole):
                return 0
        elif kind is str:
            if not number.isascii():  # one of half a character has no bytes
                return 0
        elif kind is not self.Decimal and kind is not float:
            return 0
        written = number if kind is str else str(number)
        text = PyUnicode_AsUTF8AndSize(written, &size)
        return units_in(text, size, <uint32_t>decimals)


# --- the request

cdef class LimitOrderText:
    """See engine.kraken.trading.order_requests."""

    cdef object portable, second_text
    cdef list parts
    cdef uint32_t price_decimals, qty_decimals
    cdef int64_t second
    cdef bytes text_of_second

    def __init__(self, symbol, side, price_decimals, qty_decimals, time_in_force, *, post_only):
        from engine.timestamps import second_text
        from engine.kraken.trading.order_requests import PortableLimitOrderText

        self.portable = PortableLimitOrderText(
            symbol, side, price_decimals, qty_decimals, time_in_force, post_only=post_only
        )
        self.parts, self.second_text = list(self.portable.parts), second_text
        if max(price_decimals, qty_decimals) > ORDER_DECIMALS_MAX:
            raise OverflowError("an order has no such decimals")
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self.second = -1

    def write(self, ticks, lots, bytes key not None, deadline, bytes quoted_token not None, req_id):
        cdef int64_t numbers[4]
        if (
            as_amount(ticks, &numbers[0]) and as_amount(lots, &numbers[1]) and as_amount(deadline, &numbers[2])
            and as_amount(req_id, &numbers[3])
            and numbers[0] >= 0 and numbers[1] >= 0 and numbers[2] >= 0 and numbers[3] >= 0
        ):
            return self.text(numbers[0], numbers[1], PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), numbers[2],
                             quoted_token, numbers[3])
        return self.portable.write(ticks, lots, key, deadline, quoted_token, req_id)

    cdef bytes text(self, int64_t ticks, int64_t lots, const char* key, size_t key_size, int64_t deadline,
                    bytes quoted_token, int64_t req_id):
        """None of the numbers is negative."""
        cdef char[UNITS_BYTES_MAX] qty
        cdef char[UNITS_BYTES_MAX] price
        cdef char[NUMBER_BYTES_MAX] number
        cdef char[5] part
        cdef int qty_size, price_size, number_size
        cdef int64_t second = deadline // NS_PER_S, ms = deadline % NS_PER_S // NS_PER_MS
        cdef bytes request, begin, before_price, before_key, before_second, before_token, before_number
        cdef char* out
        if second != self.second:
            self.text_of_second = self.second_text(second).encode()
            self.second = second
        begin, before_price, before_key, before_second, before_token, before_number = self.parts
        qty_size, price_size = put_units(qty, lots, self.qty_decimals), put_units(price, ticks, self.price_decimals)
        number_size = put_number(number, req_id)
        part[0], part[4] = c".", c"Z"
        part[1], part[2], part[3] = <char>(48 + ms // 100), <char>(48 + ms // 10 % 10), <char>(48 + ms % 10)
        request = PyBytes_FromStringAndSize(
            NULL,
            PyBytes_GET_SIZE(begin) + qty_size + PyBytes_GET_SIZE(before_price) + price_size
            + PyBytes_GET_SIZE(before_key) + key_size + PyBytes_GET_SIZE(before_second)
            + PyBytes_GET_SIZE(self.text_of_second) + 5 + PyBytes_GET_SIZE(before_token)
            + PyBytes_GET_SIZE(quoted_token) + PyBytes_GET_SIZE(before_number) + number_size + 1,
        )
        out = put(PyBytes_AS_STRING(request), begin)
        out = put(put_bytes(out, qty, qty_size), before_price)
        out = put(put_bytes(out, price, price_size), before_key)
        out = put(put_bytes(out, key, key_size), before_second)
        out = put_bytes(put(out, self.text_of_second), part, 5)
        out = put(put(put(out, before_token), quoted_token), before_number)
        put_bytes(out, number, number_size)[0] = c"}"
        return request


# --- the market, as the router sees it

cdef enum:
    TIME_BYTES = 28
    LIVE = 1  # engine.records.FeedState, and the bits of a record's code; whoever makes a place says the same
    STATE_BITS = 3

cdef packed struct BookHeader:
    # engine/records.py has the drawing
    uint8_t kind, code, price_decimals, qty_decimals
    uint16_t pair_index, bids, asks, levels
    char kraken_time[TIME_BYTES]
    int64_t received_at, number

cdef packed struct BookLevel:
    int64_t ticks, lots


@cython.no_gc  # a collector that cleared it would take the memory away while others have views of it
cdef class HeldCounters:
    """Counters that stay where they are as long as this lives."""

    cdef Py_buffer view
    cdef const int64_t* values

    def __cinit__(self, values):
        # Through a view of our own, so that whoever owns the memory can release theirs.
        PyObject_GetBuffer(memoryview(values), &self.view, PyBUF_SIMPLE)
        self.values = <const int64_t*>self.view.buf

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef class Place:
    """See engine.order_router.market_boards."""

    cdef readonly object portable
    cdef readonly object board
    cdef readonly Py_ssize_t slot
    cdef object mono_ns, pair_known
    cdef Py_ssize_t pair_slot
    cdef bytes pair_record
    cdef HeldCounters counters
    cdef Py_ssize_t heard

    def __init__(self, *where):
        from engine.order_router.market_boards import PortablePlace

        self.portable = PortablePlace(*where)
        _, self.board, self.slot, self.pair_slot, values, heard, self.mono_ns = where
        if not 0 <= heard < len(values):
            raise IndexError(f"there is no counter {heard} of {len(values)}")
        self.counters, self.heard = HeldCounters(values), heard

    def book_record(self):
        return self.board.read(self.slot)

    def age_ns(self):
        return self.portable.age_ns()

    def best(self):
        cdef PlainMarket market
        cdef int64_t age_ns
        cdef bytes record = self.board.read(self.slot)
        cdef int read = self.read_book(record, -1, self.mono_ns(), &market, &age_ns)
        if read < 0:
            return self.portable.best()
        if record is None:
            return None
        return (
            market.best_bid if (<BookHeader*>PyBytes_AS_STRING(record)).bids else None,
            market.best_ask if (<BookHeader*>PyBytes_AS_STRING(record)).asks else None,
            (<BookHeader*>PyBytes_AS_STRING(record)).price_decimals,
            (<BookHeader*>PyBytes_AS_STRING(record)).code & STATE_BITS == LIVE,
            age_ns,
        )

    cdef int read_book(self, bytes record, int64_t price_decimals, int64_t now, PlainMarket* market,
                       int64_t* age_ns) except -2:
        """1: a live book in this scale. 0: none. -1: its numbers are not of 62 bits. A side that is empty has 0."""
        cdef const char* text
        cdef BookHeader* header
        cdef BookLevel* bid
        cdef BookLevel* ask
        market.best_bid = market.best_ask = 0
        if record is None:
            return 0
        text = PyBytes_AS_STRING(record)
        header = <BookHeader*>text
        if PyBytes_GET_SIZE(record) < <Py_ssize_t>(sizeof(BookHeader) + sizeof(BookLevel) * (header.levels + 1)):
            return -1
        bid = <BookLevel*>(text + sizeof(BookHeader))
        ask = bid + header.levels
        if (
            (header.bids and (bid.lots < 0 or not 0 <= bid.ticks < PLAIN_MAX))
            or (header.asks and (ask.lots < 0 or not 0 <= ask.ticks < PLAIN_MAX))
        ):
            return -1
        if header.bids:
            market.best_bid = bid.ticks
        if header.asks:
            market.best_ask = ask.ticks
        age_ns[0] = now - self.counters.values[self.heard]
        return header.code & STATE_BITS == LIVE and header.price_decimals == price_decimals

    def pair(self):
        return self.current_pair()

    cdef inline current_pair(self):
        cdef bytes record = self.board.read(self.pair_slot)
        cdef Py_ssize_t size
        if record is None:
            return self.pair_known
        size = PyBytes_GET_SIZE(record)
        if (
            self.pair_record is None
            or PyBytes_GET_SIZE(self.pair_record) != size
            or memcmp(PyBytes_AS_STRING(self.pair_record), PyBytes_AS_STRING(record), size)
        ):
            self.pair_known, self.pair_record = self.portable.pair_in(record), record
        return self.pair_known


# --- the router's side

cdef class Changes:
    """See engine.native.watched."""

    cdef public int64_t count


cdef class OwnNumbers:
    """The numbers of engine.orders.quick_check's `_Open`, where no call is needed to read them."""

    cdef int64_t order_count, buy_lots, sell_lots, held_min, held_max, nearest_sell, nearest_buy
    cdef int64_t price_decimals, qty_decimals
    cdef bint is_usual  # all are amounts, and no order is odd

    def store(self, order_count, buy_lots, sell_lots, held_min, held_max, nearest_sell, nearest_buy, price_decimals,
              qty_decimals, bint is_odd):
        self.nearest_sell, self.nearest_buy = PLAIN_MAX, 0
        self.is_usual = (
            not is_odd
            and as_amount(order_count, &self.order_count)
            and as_amount(buy_lots, &self.buy_lots)
            and as_amount(sell_lots, &self.sell_lots)
            and as_amount(held_min, &self.held_min)
            and as_amount(held_max, &self.held_max)
            and (nearest_sell is None or as_amount(nearest_sell, &self.nearest_sell))
            and (nearest_buy is None or as_amount(nearest_buy, &self.nearest_buy))
            and as_amount(price_decimals, &self.price_decimals)
            and as_amount(qty_decimals, &self.qty_decimals)
        )


cdef class PreparedShape:
    """What plain orders of one strategy, pair and kind have in common, and what was last known of their pair."""

    cdef object shape
    cdef str symbol, strategy
    cdef bytes packed
    cdef bint is_sell
    cdef LimitOrderText text
    cdef int64_t price_decimals, qty_decimals
    # The journal's record around its numbers.
    cdef bytes before_lots, before_deadline, before_at, after_at
    cdef object place, counter
    # Whether the gate and the limits took such orders when changes were last counted, and their number then.
    cdef bint is_open
    cdef int64_t changes
    # The pair, and the limits on it, that `bounds` is of; the limits of the age of a book and of duplicates.
    cdef object pair, limits
    cdef int64_t made_at, book_age_ns_max, window_ns
    cdef PlainBounds bounds
    # The tier of the rate counter, and the level up to which an order need not wait.
    cdef object tier
    cdef int64_t level_max, decay


cdef class PlainOrders:
    """See engine.order_router.core.plain_orders: sends what is plainly acceptable, and leaves the rest to `portable`."""

    cdef readonly object portable
    cdef object encode
    cdef object now, blotter, queue, breaker, gate, session, socket, boards, quick_check, risk, rates, kraken
    cdef object records, active, add_cost
    cdef dict barred, requests, shapes
    cdef Changes gate_changes, risk_changes
    cdef PreparedShape last
    cdef int64_t command_ttl_ns, deadline_ns, order_tokens, requests_max

    def __init__(self, portable, *, encode, active, add_cost, order_tokens):
        self.portable, self.encode, self.active = portable, encode, active
        self.add_cost, self.order_tokens = add_cost, order_tokens
        self.now, self.session, self.socket, self.boards = portable.now, portable.session, portable.socket, portable.boards
        self.records, self.blotter, self.gate, self.risk = portable.records, portable.blotter, portable.gate, portable.risk
        self.queue, self.barred, self.breaker = portable.queue, portable.barred, portable.breaker
        self.quick_check, self.rates, self.kraken = portable.quick_check, portable.rates, portable.kraken
        self.gate_changes, self.risk_changes = self.gate.changes, self.risk.changes
        self.requests, self.requests_max = self.session.requests, self.session.settings.pending_max
        self.command_ttl_ns = min(portable.command_ttl_ns, PLAIN_MAX)
        self.deadline_ns = min(portable.deadline_ns, PLAIN_MAX)
        self.shapes = {}

    @property
    def taken(self):
        return self.portable.taken

    def take(self, bytes record not None):
        cdef const char* text = PyBytes_AS_STRING(record)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(record), shape_size
        cdef PreparedShape shape = self.last
        if size < SHAPE_AT + TERMS_BYTES or not (<uint32_t*>text)[0] & PLAIN:
            return False
        shape_size = TERMS_BYTES + <unsigned char>text[SHAPE_AT + TERMS_BYTES - 1]
        if size < SHAPE_AT + shape_size:
            return False
        if (
            shape is None
            or PyBytes_GET_SIZE(shape.packed) != shape_size
            or memcmp(PyBytes_AS_STRING(shape.packed), text + SHAPE_AT, shape_size)
        ):
            shape = self.prepare(text[SHAPE_AT : SHAPE_AT + shape_size])
            if shape is None:
                return self.portable.take(record)
            self.last = shape
        return self.take_plain(shape, <PlainNumbers*>text, record)

    cdef PreparedShape prepare(self, bytes packed):
        """None where the portable code must say whether this can be read."""
        cdef PreparedShape prepared = self.shapes.get(packed)
        if prepared is not None:
            return prepared
        found = self.portable.prepare(packed)
        if found is None or type(found[1]) is not LimitOrderText:
            return None
        prepared = PreparedShape.__new__(PreparedShape)
        shape = prepared.shape = found[0]
        prepared.text = found[1]
        prepared.packed, prepared.symbol, prepared.strategy = packed, shape.symbol, shape.strategy
        prepared.is_sell = shape.side == "sell"
        prepared.price_decimals, prepared.qty_decimals = shape.price_decimals, shape.qty_decimals
        prepared.place = self.boards.place(prepared.symbol)
        if prepared.place is None:
            return None
        prepared.changes = -1
        prepared.before_lots, prepared.before_deadline, prepared.before_at = self.portable.journal_parts(shape)
        if len(self.shapes) >= SHAPES_MAX:
            self.shapes.clear()
        self.shapes[packed] = prepared
        return prepared

    cdef take_plain(self, PreparedShape shape, PlainNumbers* numbers, bytes record):
        cdef int64_t now, at, deadline
        cdef bytes request, payload, token
        if not as_amount(self.now.mono, &now) or not as_amount(self.now.wall, &at) or at < 0:
            return self.portable.take(record)
        key = PyUnicode_DecodeLatin1(numbers.key, KEY_BYTES, NULL)
        session = self.session
        token = session.quoted_token
        if not token or not self.allows(shape, numbers, key, now) or not self.kraken_now(&deadline, now, at):
            return self.portable.take(record)
        deadline += self.deadline_ns
        if deadline < 0 or deadline >= PLAIN_MAX:
            return self.portable.take(record)
        number = session.next_number()
        request = shape.text.text(
            numbers.ticks, numbers.lots, numbers.key, KEY_BYTES, deadline, token, number
        )
        payload = self.payload(shape, numbers, deadline, at)
        if not self.records.write_encoded(payload):
            session.give_back(number)
            return False
        is_sent = self.socket.send(request)
        self.portable.sent(
            shape.shape, key, numbers.ticks, numbers.lots, deadline, at, shape.pair.base_decimals, number, is_sent,
            numbers.issued_at, numbers.tick_at, now,
        )
        return True

    cdef inline bint kraken_now(self, int64_t* kraken_now, int64_t now, int64_t at) except -1:
        """See engine.kraken.connection.kraken_time."""
        ahead_ns = self.kraken.ahead_ns
        if ahead_ns is None:
            if not as_amount(self.kraken.now(), kraken_now):
                return False
            return -PLAIN_MAX < kraken_now[0] < PLAIN_MAX
        if not as_amount(ahead_ns, kraken_now):
            return False
        kraken_now[0] += now
        return -PLAIN_MAX < kraken_now[0] < PLAIN_MAX

    cdef bint allows(self, PreparedShape shape, PlainNumbers* numbers, str key, int64_t now) except -1:
        """Everything that must be so, as `PortablePlainOrders.take` asks for it."""
        cdef int k
        cdef char letter
        cdef PlainMarket market
        cdef OwnNumbers own = self.own_of(shape)
        blotter = self.blotter
        if (
            own is None
            or not -PLAIN_MAX < numbers.issued_at < PLAIN_MAX
            or now - numbers.issued_at > self.command_ttl_ns
            or self.queue.size
            or self.breaker.opened_at is not None
            or (self.barred and shape.strategy in self.barred)
            or len(self.requests) >= self.requests_max
            or not self.socket.can_send
        ):
            return False
        for k in range(KEY_BYTES):
            letter = numbers.key[k]
            if not (c"0" <= letter <= c"9" or c"a" <= letter <= c"z" or c"A" <= letter <= c"Z"):
                return False
        if key in blotter.open or key in blotter.ended:
            return False
        if not self.is_current(shape) or not own.is_usual:
            return False
        if own.price_decimals != shape.price_decimals or own.qty_decimals != shape.qty_decimals:
            return False
        market.order_count, market.buy_lots, market.sell_lots = own.order_count, own.buy_lots, own.sell_lots
        market.held_min, market.held_max = own.held_min, own.held_max
        market.nearest_sell, market.nearest_buy = own.nearest_sell, own.nearest_buy
        return (
            self.read_book(shape, now, &market)
            and is_plainly_within(&shape.bounds, &market, shape.is_sell, numbers.ticks, numbers.lots)
            and self.is_paced(shape, numbers, now)
            and self.has_room(shape, now)
        )

    cdef inline OwnNumbers own_of(self, PreparedShape shape):
        own = self.quick_check.own.get(shape.symbol)
        return None if own is None else own.numbers

    cdef bint is_current(self, PreparedShape shape) except -1:
        """Such orders are open to everyone, and `bounds` is what limits them."""
        cdef int64_t changes = self.gate_changes.count + self.risk_changes.count
        pair = shape.place.pair() if type(shape.place) is not Place else (<Place>shape.place).current_pair()
        limits, risk = self.quick_check.bounds.get(shape.symbol), self.risk
        if pair is not None and pair is shape.pair and limits is shape.limits and changes == shape.changes:
            return shape.is_open
        if pair is None or limits is None or limits.pair is not pair or limits.cap != risk.open_orders_cap:
            return False
        shape.is_open = (
            risk.mode is self.active
            and risk.tight is None
            and bool(self.gate.is_plainly_open(shape.symbol))
            and self.load(shape, pair, limits)
        )
        shape.pair, shape.limits, shape.changes = pair, limits, changes
        return shape.is_open

    cdef bint load(self, PreparedShape shape, pair, limits) except -1:
        cdef PlainBounds* bounds = &shape.bounds
        risk_limits = self.risk.limits
        shape.after_at = self.encode(pair.base_decimals) + self.encode("")  # such an order closes no other's fills
        return (
            limits.is_open
            and pair.price_decimals == shape.price_decimals
            and pair.qty_decimals == shape.qty_decimals
            and as_amount(pair.qty_min_lots, &bounds.qty_min)
            and as_amount(pair.qty_increment_lots, &bounds.qty_step)
            and as_amount(pair.price_increment_ticks, &bounds.price_step)
            and bounds.qty_step > 0
            and bounds.price_step > 0
            and as_bound(limits.qty_max, &bounds.qty_max)
            and as_bound(limits.orders_max, &bounds.orders_max)
            and as_bound(limits.position_max, &bounds.position_max)
            and as_amount(limits.reach_up, &bounds.reach_up)
            and as_amount(limits.reach_down, &bounds.reach_down)
            and as_wide_bound(limits.cost_min, &bounds.cost_min)
            and as_wide_bound(limits.notional_max, &bounds.notional_max)
            and as_wide_bound(limits.position_notional_max, &bounds.position_notional_max)
            and as_amount(limits.made_at, &shape.made_at)
            and as_bound(risk_limits.book_age_ns_max, &shape.book_age_ns_max)
            and as_bound(risk_limits.duplicate_window_ns, &shape.window_ns)
        )

    cdef bint read_book(self, PreparedShape shape, int64_t now, PlainMarket* market) except -1:
        """Best bid and ask of a live and fresh book in the pair's scale."""
        cdef int64_t age_ns
        cdef int read
        market.best_bid = market.best_ask = 0
        if type(shape.place) is Place:
            read = (<Place>shape.place).read_book((<Place>shape.place).board.read((<Place>shape.place).slot),
                                                  shape.price_decimals, now, market, &age_ns)
            if read >= 0:
                return read and age_ns <= shape.book_age_ns_max
        best = shape.place.best()
        if best is None:
            return False
        bid, ask, decimals, is_live, age = best
        return (
            is_live
            and decimals == shape.price_decimals
            and as_amount(age, &age_ns)
            and age_ns <= shape.book_age_ns_max
            and (bid is None or as_amount(bid, &market.best_bid))
            and (ask is None or as_amount(ask, &market.best_ask))
        )

    cdef bint is_paced(self, PreparedShape shape, PlainNumbers* numbers, int64_t now) except -1:
        """No budget and no equal order forbids it; nor can one in an earlier scale of the pair."""
        cdef int64_t before, level
        risk = self.risk
        budget = risk.budget
        if now - shape.made_at < shape.window_ns:
            return False
        if not as_bound(budget.level, &level) or (level < self.order_tokens and not risk.is_paced(now)):
            return False
        if shape.window_ns == 0:
            return True
        approved_at = budget.as_of
        if approved_at is None or (as_amount(approved_at, &before) and now - before >= shape.window_ns):
            return True  # nothing at all was
        earlier = risk.recent_plain.get((shape.strategy, shape.symbol, shape.shape.side, numbers.ticks, numbers.lots))
        return earlier is None or (as_amount(earlier, &before) and now - before >= shape.window_ns)

    cdef bint has_room(self, PreparedShape shape, int64_t now) except -1:
        """Kraken's rate counter has room for it."""
        cdef int64_t level, as_of
        counter = shape.counter
        if counter is None:
            counter = shape.counter = self.rates.counters.get(shape.symbol)
            if counter is None:
                return False
        tier = counter.tier
        if tier is not shape.tier:
            shape.tier = tier
            if not as_bound(self.rates.level_max(tier, self.add_cost), &shape.level_max):
                shape.level_max = -1
            if not as_amount(tier.decay_hundredths_per_s, &shape.decay):
                shape.decay = 0
        if not as_amount(counter.level, &level) or not as_amount(counter.as_of, &as_of):
            return False
        return level <= shape.level_max or has_decayed(level, now - as_of, shape.decay, shape.level_max)

    cdef bytes payload(self, PreparedShape shape, PlainNumbers* numbers, int64_t deadline, int64_t at):
        """The record of `Submitted` in MessagePack; none of the numbers is negative."""
        cdef char[4][PACKED_INT_BYTES_MAX] ints
        cdef int sizes[4]
        cdef bytes payload
        cdef char* out
        sizes[0] = put_packed_int(ints[0], numbers.lots)
        sizes[1] = put_packed_int(ints[1], numbers.ticks)
        sizes[2] = put_packed_int(ints[2], deadline)
        sizes[3] = put_packed_int(ints[3], at)
        payload = PyBytes_FromStringAndSize(
            NULL,
            6 + KEY_BYTES + PyBytes_GET_SIZE(shape.before_lots) + sizes[0] + 12 + sizes[1]
            + PyBytes_GET_SIZE(shape.before_deadline) + sizes[2] + PyBytes_GET_SIZE(shape.before_at) + sizes[3]
            + PyBytes_GET_SIZE(shape.after_at),
        )
        out = put_bytes(PyBytes_AS_STRING(payload), b"\x9a\xa3sub\xb2", 6)
        out = put(put_bytes(out, numbers.key, KEY_BYTES), shape.before_lots)
        out = put_bytes(put_bytes(out, ints[0], sizes[0]), b"\xablimit_price", 12)
        out = put(put_bytes(out, ints[1], sizes[1]), shape.before_deadline)
        out = put(put_bytes(out, ints[2], sizes[2]), shape.before_at)
        put(put_bytes(out, ints[3], sizes[3]), shape.after_at)
        return payload
