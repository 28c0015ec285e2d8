# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False
"""The market side's hot paths, compiled: rings and boards with real atomics, books on flat arrays, and the lanes
from a frame's bytes to its records. Every class here has a portable twin of the same name, interface and memory
format, which is where its contract is written: engine/ring, engine/market/book.py, engine/kraken/public.

How the order of stores is kept, on any machine (engine/ring/layout.py has the argument): a stamp is cleared before a
release fence and set by a release store; a reader loads it with acquire, copies, and loads it again behind an
acquire fence. Gates and cursors are release stores and acquire loads; before sleeping and before ringing there is a
full fence.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.pycapsule cimport PyCapsule_New
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
cimport cython

from time import monotonic_ns

cdef extern from *:
    """
    #define SIDE_REALLOC PyMem_Realloc
    #define SIDE_FREE PyMem_Free
    #ifndef ENGINE_SOURCE_HASH
    #define ENGINE_SOURCE_HASH ""
    #endif
    """
    const char* ENGINE_SOURCE_HASH

cdef extern from "shared_words.h" nogil:
    void store_relaxed(uint64_t* word, uint64_t value)
    void store_release(uint64_t* word, uint64_t value)
    uint64_t load_acquire(const uint64_t* word)
    uint64_t load_relaxed(const uint64_t* word)
    void fence_acquire()
    void fence_full()
    void store_stamped(uint64_t* stamp, uint64_t value, const char* record, size_t size, size_t room)
    void c_end_stores "end_stores"(int64_t after, int is_kill)

cdef extern from "crc32.h" nogil:
    int crc32_folds
    void crc32_init()
    uint32_t crc32_of(uint32_t crc, const char* text, size_t size)

cdef extern from "book_side.h" nogil:
    enum: UNCHANGED
    ctypedef struct Token:
        char* text
        uint8_t size
    ctypedef struct BookSide:
        int64_t* units
        int32_t count, capacity, depth, token_count, text_size
        Token* tokens
        char* text
    void side_init(BookSide* side, int32_t depth, int is_descending)
    void side_clear(BookSide* side)
    void side_free(BookSide* side)
    int side_reserve(BookSide* side, int32_t more)
    int32_t side_apply(BookSide* side, int64_t ticks, int64_t lots, int32_t changed_from)
    int side_settle(BookSide* side, int32_t changed_from)

cdef extern from "book_update.h" nogil:
    ctypedef struct UpdateNumber:
        int64_t number
        uint32_t decimals
    ctypedef struct UpdateLevel:
        UpdateNumber price
        UpdateNumber qty
    ctypedef struct BookUpdate:
        const char* symbol
        const char* time
        int32_t symbol_size, time_size, bid_count, ask_count
        uint32_t checksum
        UpdateLevel* levels
    int update_scan(const char* frame, size_t size, BookUpdate* out)
    int update_to_pair(BookUpdate* update, uint32_t price_decimals, uint32_t qty_decimals)

cdef extern from "frame_taker.h":
    const char* FRAME_TAKER
    ctypedef struct FrameTaker:
        int (*take)(void* lane, const char* frame, size_t size, int64_t received_at) except -1
        int (*settle)(void* lane) except -1
        void* lane

cdef extern from "execution_rows.h" nogil:
    enum: ROWS_MAX, ROW_FIELDS
    ctypedef struct RowKey:
        char* name
    RowKey* row_keys
    int rows_scan(const char* frame, size_t size, int64_t received_at, char* records, size_t room, size_t* sizes,
                  int64_t* sequence)

cdef extern from *:
    """
    #include <time.h>
    static inline int64_t clock_monotonic_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    static inline int bit_length(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }
    """
    int64_t clock_monotonic_ns() nogil
    int bit_length(uint64_t value) nogil

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    double PyFloat_AsDouble(object number) except? -1.0

cdef extern from "unistd.h" nogil:
    ssize_t read(int fd, void* buffer, size_t size)
    ssize_t write(int fd, const void* buffer, size_t size)

crc32_init()

SOURCE_HASH = ENGINE_SOURCE_HASH.decode("ascii")
"""Of the files that this was built from; `engine.native` compares it with those that lie beside it."""

# Words of a ring's and a board's memory: engine/ring/layout.py, whose sizes are checked when a memory is attached.
cdef enum:
    WORD_BYTES = 8
    LINE_WORDS = 8
    CURSOR = 16
    EPOCH = 17
    FIRST_GATE = 24
    GATES_MAX = 64
    BELLS_MAX = 64
    READ_TRIES_MAX = 8
    LAP_BACKLOG_DIVISOR = 4
    SIZE_BYTES = 4
    SIZE_BITS = 0x7FFFFFFF

cdef uint64_t GATE_CLOSED = 0xFFFFFFFFFFFFFFFF

# Names of the portable modules, found when the first object is made: those modules import this one.
cdef object MisuseError = None
cdef object LayoutMismatch = None
cdef object RingLayout = None
cdef object read_header = None
cdef object slot_bytes_for = None
cdef object board_bytes = None
cdef object publish_misuse = None
cdef object PortableBook = None
cdef object UnitsTooLarge = None
cdef object pack_levels = None
cdef object Level = None
cdef object wide_level = None
cdef object units_decimal = None
cdef object kraken_wall_ns = None
cdef object source_of = None
cdef object age_s = None
cdef object spread_percent = None


cdef int find_ring_names() except -1:
    global MisuseError, LayoutMismatch, RingLayout, read_header, slot_bytes_for, board_bytes, publish_misuse
    if publish_misuse is None:
        from engine.errors import MisuseError as misuse_error
        from engine.ring import board, layout, ring

        MisuseError, LayoutMismatch, RingLayout = misuse_error, layout.LayoutMismatch, layout.RingLayout
        read_header, slot_bytes_for, board_bytes = layout.read_header, layout.slot_bytes_for, board.board_bytes
        publish_misuse = ring.publish_misuse
    return 0


cdef int find_book_names() except -1:
    global PortableBook, UnitsTooLarge, pack_levels
    if pack_levels is None:
        from engine.market import book
        from engine.wide import pack_levels as pack

        PortableBook, UnitsTooLarge, pack_levels = book.Book, book.UnitsTooLarge, pack
    return 0


cdef int find_record_names() except -1:
    global Level, wide_level, units_decimal, kraken_wall_ns, source_of, age_s, spread_percent
    if kraken_wall_ns is None:
        from engine import records
        from engine.units import units_decimal as decimal
        from engine.wide import wide_level as wide

        Level, wide_level, units_decimal = records.Level, wide, decimal
        source_of, age_s, spread_percent = records.source_of, records.age_s, records.spread_percent
        kraken_wall_ns = records.kraken_wall_ns
    return 0


def end_stores(after=None, how="drop"):
    """For tests: this process's stores into shared memory end after so many more; None: they do not end.

    "drop": later ones do not happen, as others see it when a writer was killed. "kill": SIGKILL before the next.
    """
    if how not in ("drop", "kill"):
        raise ValueError(f"stores end by drop or by kill, not by {how}")
    c_end_stores(-1 if after is None else after, how == "kill")


# Called, in tests, where a reader has copied a record and not yet looked whether it was overwritten meanwhile.
cdef object copied_hook = None


def call_when_copied(hook=None):
    """For tests: call this between every copy out of shared memory and the look at its stamp; None: nothing."""
    global copied_hook
    copied_hook = hook


cdef inline int copied() except -1:
    if copied_hook is not None:
        copied_hook()
    fence_acquire()
    return 0


def full_fence():
    """Everything stored before is visible to every process before anything is loaded after."""
    fence_full()


# --- memory

cdef class Held:
    """A memory that stays where it is as long as this lives."""

    cdef Py_buffer view
    cdef uint64_t* words

    def __cinit__(self, memory, bint writable):
        # Through a view of our own, so that whoever owns the memory can release theirs.
        PyObject_GetBuffer(memoryview(memory), &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.words = <uint64_t*>self.view.buf
        if <size_t>self.view.buf % WORD_BYTES:
            find_ring_names()
            raise MisuseError(f"the memory does not begin on a multiple of {WORD_BYTES} bytes")

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef object ring_layout(memory):
    """The layout in a ring's header, proved to fit its memory: nothing is read beside it."""
    layout = RingLayout.read(memory)
    plan = RingLayout.plan(layout.record_bytes, layout.slot_count, layout.gate_count, layout.doorbell_count)
    if plan != layout or plan.total_bytes != memoryview(memory).nbytes:
        raise LayoutMismatch("EngRing layout", tuple(plan), tuple(layout))
    return layout


# --- ring

cdef class Publisher:
    """See engine.ring.ring.Publisher."""

    cdef Held held
    cdef object layout
    cdef uint64_t* words
    cdef uint64_t* slots
    cdef uint64_t slot_words, slot_count, mask, free_upto, flushed
    cdef Py_ssize_t room
    cdef bint is_gated
    cdef int gate_count, bell_count
    cdef uint64_t* bells[BELLS_MAX]
    cdef uint64_t rung_sleeps[BELLS_MAX]
    cdef int eventfds[BELLS_MAX]
    cdef uint32_t* used  # of each slot, the bytes that may be other than zero: only those are cleared
    cdef readonly uint64_t cursor
    cdef readonly uint64_t full_count

    def __init__(self, memory, doorbells=()):
        cdef int k
        find_ring_names()
        layout = self.layout = ring_layout(memory)
        self.held = Held(memory, True)
        self.words = self.held.words
        self.slots = self.words + <uint64_t>layout.first_slot_word
        self.slot_words = layout.slot_bytes // WORD_BYTES
        self.slot_count = layout.slot_count
        self.mask = self.slot_count - 1
        self.room = layout.record_bytes
        PyMem_Free(self.used)
        self.used = <uint32_t*>PyMem_Malloc(self.slot_count * sizeof(uint32_t))
        if self.used == NULL:
            raise MemoryError
        for k in range(<int>self.slot_count):
            self.used[k] = <uint32_t>self.room
        self.gate_count = layout.gate_count
        self.is_gated = layout.mode != 0
        self.free_upto = self.full_count = 0
        self.bell_count = 0
        for index, eventfd in doorbells:
            if self.bell_count == BELLS_MAX:
                raise MisuseError(f"a publisher rings at most {BELLS_MAX} doorbells")
            self.bells[self.bell_count] = self.words + <uint64_t>layout.doorbell_word(index)
            self.eventfds[self.bell_count] = eventfd
            self.rung_sleeps[self.bell_count] = 0
            self.bell_count += 1
        self.take_over()
        self.flushed = self.cursor
        for k in range(self.bell_count):
            ring_bell(self.eventfds[k])

    def __dealloc__(self):
        PyMem_Free(self.used)

    cdef inline uint64_t* slot_of(self, uint64_t sequence) noexcept nogil:
        return self.slots + (sequence & self.mask) * self.slot_words

    cdef void take_over(self) noexcept:
        cdef uint64_t sequence
        store_release(self.words + EPOCH, load_relaxed(self.words + EPOCH) + 1)
        sequence = load_acquire(self.words + CURSOR) + 1
        if load_acquire(self.slot_of(sequence)) != sequence:
            self.cursor = sequence - 1
            return
        store_release(self.words + CURSOR, sequence)
        self.cursor = sequence

    @property
    def epoch(self):
        return load_relaxed(self.words + EPOCH)

    @property
    def record_bytes(self):
        return self.room

    cdef inline void put(self, const char* record, size_t size) noexcept nogil:
        cdef uint64_t sequence = self.cursor + 1
        cdef uint32_t* used = self.used + (sequence & self.mask)
        store_stamped(self.slot_of(sequence), sequence, record, size, used[0] if used[0] > size else size)
        used[0] = <uint32_t>size
        store_release(self.words + CURSOR, sequence)
        self.cursor = sequence

    def publish(self, bytes record not None):
        if self.is_gated or PyBytes_GET_SIZE(record) > self.room:
            raise publish_misuse(self.layout, len(record))
        self.put(PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))

    def try_publish(self, bytes record not None):
        if not self.is_gated or PyBytes_GET_SIZE(record) > self.room:
            raise publish_misuse(self.layout, len(record))
        if self.cursor + 1 > self.free_upto and not self.has_room():
            self.full_count += 1
            return False
        self.put(PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))
        return True

    cdef bint has_room(self) noexcept nogil:
        cdef uint64_t slowest = self.cursor, gate
        cdef int k
        fence_full()
        for k in range(self.gate_count):
            gate = load_acquire(self.words + FIRST_GATE + k * LINE_WORDS)
            if gate < slowest:
                slowest = gate
        self.free_upto = slowest + self.slot_count
        return self.cursor + 1 <= self.free_upto

    cpdef flush(self):
        cdef uint64_t sleep
        cdef int k
        if self.flushed == self.cursor:
            return
        self.flushed = self.cursor
        if self.bell_count == 0:
            return
        fence_full()
        for k in range(self.bell_count):
            sleep = load_relaxed(self.bells[k])
            if sleep & 1 and sleep != self.rung_sleeps[k]:
                self.rung_sleeps[k] = sleep
                ring_bell(self.eventfds[k])


cdef int ring_bell(int eventfd) except -1:
    cdef uint64_t one = 1
    if write(eventfd, &one, sizeof(one)) != sizeof(one):
        PyErr_SetFromErrno(OSError)
    return 0


cdef class Reader:
    """What reading takes in either mode."""

    cdef Held held
    cdef object layout
    cdef uint64_t* words
    cdef uint64_t* slots
    cdef uint64_t slot_words, slot_count, mask
    cdef Py_ssize_t room
    cdef bint is_sized  # records begin with their size
    cdef public uint64_t next_sequence

    cdef inline Py_ssize_t size_in(self, uint64_t* stamp) noexcept nogil:
        """How much of a slot to copy."""
        cdef uint32_t more
        if not self.is_sized:
            return self.room
        more = (<uint32_t*>(stamp + 1))[0] & SIZE_BITS
        return <Py_ssize_t>more + SIZE_BYTES if <Py_ssize_t>more <= self.room - SIZE_BYTES else self.room

    cdef int attach(self, memory, bint writable) except -1:
        find_ring_names()
        layout = self.layout = ring_layout(memory)
        self.held = Held(memory, writable)
        self.words = self.held.words
        self.slots = self.words + <uint64_t>layout.first_slot_word
        self.slot_words = layout.slot_bytes // WORD_BYTES
        self.slot_count = layout.slot_count
        self.mask = self.slot_count - 1
        self.room = layout.record_bytes
        return 0

    cdef inline uint64_t* slot_of(self, uint64_t sequence) noexcept nogil:
        return self.slots + (sequence & self.mask) * self.slot_words

    @property
    def record_bytes(self):
        return self.room

    @property
    def epoch(self):
        return load_relaxed(self.words + EPOCH)

    @property
    def lag(self):
        cdef uint64_t next_published = load_acquire(self.words + CURSOR) + 1
        return next_published - self.next_sequence if next_published > self.next_sequence else 0

    cpdef bint ready(self):
        cdef uint64_t sequence = self.next_sequence
        return load_acquire(self.slot_of(sequence)) >= sequence or load_acquire(self.words + CURSOR) >= sequence

    cdef bytes copy(self, uint64_t sequence):
        """The record of this sequence, or None where its slot was not, or is no more, stamped with it."""
        cdef uint64_t* stamp = self.slot_of(sequence)
        cdef bytes record
        if load_acquire(stamp) != sequence:
            return None
        record = PyBytes_FromStringAndSize(<char*>(stamp + 1), self.room)
        copied()
        return record if load_relaxed(stamp) == sequence else None

    cdef list copy_published(self, uint64_t first, uint64_t last):
        """The records of these sequences, which the cursor has passed; None when the first was overwritten meanwhile.

        The publisher overwrites in order, so if it has not begun with the first it has begun with none of them.
        """
        cdef uint64_t sequence
        cdef uint64_t* stamp
        cdef list records = []
        for sequence in range(first, last + 1):
            stamp = self.slot_of(sequence)
            records.append(PyBytes_FromStringAndSize(<char*>(stamp + 1), self.size_in(stamp)))
        copied()
        return records if load_relaxed(self.slot_of(first)) == first else None


cdef class Subscriber(Reader):
    """See engine.ring.ring.Subscriber."""

    cdef readonly uint64_t first_sequence
    cdef readonly uint64_t gap_count

    def __init__(self, memory, first_sequence=None):
        self.attach(memory, False)
        cursor = load_acquire(self.words + CURSOR)
        if first_sequence is None:
            first_sequence = cursor + 1
        elif first_sequence == 0:
            first_sequence = max(1, cursor + 1 - self.slot_count) if cursor + 1 > self.slot_count else 1
        elif not 1 <= first_sequence <= cursor + 2:
            raise MisuseError(f"no subscriber can begin at sequence {first_sequence}: the cursor is at {cursor}")
        self.first_sequence = self.next_sequence = first_sequence
        self.gap_count = 0

    @property
    def received_count(self):
        return self.next_sequence - self.first_sequence - self.gap_count

    def poll(self):
        return self.next_record()

    cdef bytes next_record(self):
        cdef uint64_t sequence = self.next_sequence
        cdef uint64_t* stamp = self.slot_of(sequence)
        cdef uint64_t found = load_acquire(stamp)
        cdef bytes record
        if found == sequence:
            record = PyBytes_FromStringAndSize(<char*>(stamp + 1), self.room)
            copied()
            if load_relaxed(stamp) == sequence:
                self.next_sequence = sequence + 1
                return record
        elif found < sequence and (found or load_acquire(self.words + CURSOR) < sequence):
            return None
        return self.next_after_lap()

    cdef bytes next_after_lap(self):
        """As `_poll_lapped` of the portable one: the cursor has passed the next sequence, so it was stamped once."""
        cdef bytes record
        if load_acquire(self.slot_of(self.next_sequence)) != self.next_sequence:
            self.jump_to(load_acquire(self.words + CURSOR) + 1 - self.slot_count // LAP_BACKLOG_DIVISOR)
        record = self.copy(self.next_sequence)
        if record is not None:
            self.next_sequence += 1
        return record

    def heads(self, Py_ssize_t limit):
        """See engine.ring.ring.Subscriber."""
        cdef uint64_t sequence = self.next_sequence
        cdef uint64_t* stamp
        cdef list heads = []
        while len(heads) < limit:
            stamp = self.slot_of(sequence)
            if load_acquire(stamp) != sequence:
                break
            head = load_relaxed(stamp + 1)
            copied()
            if load_relaxed(stamp) != sequence:
                break
            heads.append(head)
            sequence += 1
        return heads

    def poll_many(self, Py_ssize_t limit):
        cdef uint64_t sequence = self.next_sequence, last
        cdef list records
        cdef bytes record
        if limit < 1:
            return []
        last = load_acquire(self.words + CURSOR)
        if last > sequence:
            if last - sequence > <uint64_t>(limit - 1):
                last = sequence + <uint64_t>(limit - 1)
            if last > sequence and last - sequence <= self.mask:
                records = self.copy_published(sequence, last)
                if records is not None:
                    self.next_sequence = last + 1
                    return records
        record = self.next_record()
        return [] if record is None else [record]

    cpdef jump_to(self, uint64_t sequence):
        cdef uint64_t cursor = load_acquire(self.words + CURSOR)
        if not self.next_sequence <= sequence <= max(cursor + 1, self.next_sequence):
            raise MisuseError(
                f"no jump from sequence {self.next_sequence} to {sequence}: the cursor is at {cursor} "
                "and jumps go forward"
            )
        self.gap_count += sequence - self.next_sequence
        self.next_sequence = sequence


cdef class GatedSubscriber(Reader):
    """See engine.ring.ring.GatedSubscriber."""

    cdef uint64_t* gate
    cdef uint64_t released
    cdef readonly uint64_t received_count

    def __init__(self, memory, gate=0, *, bint is_sized=False):
        cdef uint64_t consumed, cursor
        self.attach(memory, True)
        self.is_sized = is_sized
        self.gate = self.words + <uint64_t>self.layout.gate_word(gate)
        consumed, cursor = load_acquire(self.gate), load_acquire(self.words + CURSOR)
        # As the portable one, where `cursor - consumed` may be negative.
        if consumed == GATE_CLOSED or (cursor > consumed and cursor - consumed > self.slot_count):
            store_release(self.gate, load_acquire(self.words + CURSOR))
            fence_full()
            store_release(self.gate, load_acquire(self.words + CURSOR))
        self.released = load_relaxed(self.gate)
        self.next_sequence = self.released + 1
        self.received_count = 0

    def poll(self):
        cdef uint64_t sequence = self.next_sequence
        cdef uint64_t* stamp
        cdef uint64_t found
        cdef bytes record
        if self.released != sequence - 1:
            self.release()
        stamp = self.slot_of(sequence)
        found = load_acquire(stamp)
        if found != sequence:
            if found > sequence:
                raise self.overrun()
            return None
        record = PyBytes_FromStringAndSize(<char*>(stamp + 1), self.size_in(stamp))
        copied()
        if load_relaxed(stamp) != sequence:
            raise self.overrun()
        self.next_sequence = sequence + 1
        self.received_count += 1
        return record

    def poll_many(self, Py_ssize_t limit):
        cdef uint64_t sequence = self.next_sequence, last
        cdef list records
        if limit < 1:
            return []
        last = load_acquire(self.words + CURSOR)
        if last > sequence and last - sequence > <uint64_t>(limit - 1):
            last = sequence + <uint64_t>(limit - 1)
        if last <= sequence:
            record = self.poll()
            return [] if record is None else [record]
        self.release()
        if last - sequence > self.mask:
            raise self.overrun()
        records = self.copy_published(sequence, last)
        if records is None:
            raise self.overrun()
        self.next_sequence = last + 1
        self.received_count += <uint64_t>len(records)
        return records

    cpdef release(self):
        self.released = self.next_sequence - 1
        store_release(self.gate, self.released)

    def close_gate(self):
        store_release(self.gate, GATE_CLOSED)

    cdef object overrun(self):
        return MisuseError(f"the publisher passed a gate at {self.released}: sequence {self.next_sequence} is gone")


cdef class Doorbell:
    """See engine.ring.doorbell.Doorbell."""

    cdef Held held
    cdef uint64_t* word
    cdef int fd

    def __init__(self, memory, index, eventfd):
        find_ring_names()
        layout = ring_layout(memory)
        self.held = Held(memory, True)
        self.word = self.held.words + <uint64_t>layout.doorbell_word(index)
        self.fd = eventfd
        self.disarm()

    @property
    def eventfd(self):
        return self.fd

    cpdef arm(self):
        store_release(self.word, (load_relaxed(self.word) + 1) | 1)
        fence_full()

    cpdef disarm(self):
        cdef uint64_t rings
        store_release(self.word, (load_relaxed(self.word) + 1) & ~<uint64_t>1)
        if read(self.fd, &rings, sizeof(rings)) != sizeof(rings) and errno != EAGAIN:
            PyErr_SetFromErrno(OSError)


# --- board

cdef class Board:
    """What both sides know."""

    cdef Held held
    cdef uint64_t* words
    cdef uint64_t copy_words
    cdef Py_ssize_t room, slots

    cdef int attach(self, memory, bint writable) except -1:
        find_ring_names()
        slot_bytes, slot_count, record_bytes = read_header(memory, b"EngBoard")[:3]
        plan = (slot_bytes_for(record_bytes), board_bytes(record_bytes, slot_count))
        if plan != (slot_bytes, memoryview(memory).nbytes):
            raise LayoutMismatch("EngBoard layout", plan, (slot_bytes, memoryview(memory).nbytes))
        self.held = Held(memory, writable)
        self.words = self.held.words
        self.copy_words, self.slots, self.room = slot_bytes // WORD_BYTES, slot_count, record_bytes
        return 0

    @property
    def slot_count(self):
        return self.slots

    @property
    def record_bytes(self):
        return self.room

    @property
    def complete_upto(self):
        return load_acquire(self.words + CURSOR)

    cdef uint64_t* even_copy(self, Py_ssize_t index) except NULL:
        if not 0 <= index < self.slots:
            raise MisuseError(f"there is no slot {index} on a board of {self.slots}")
        return self.words + FIRST_GATE + 2 * <uint64_t>index * self.copy_words


cdef class BoardWriter(Board):
    """See engine.ring.board.BoardWriter."""

    cdef uint64_t* store_counts
    cdef uint8_t* is_inherited
    cdef readonly Py_ssize_t inherited_count

    def __init__(self, memory):
        cdef Py_ssize_t k
        cdef uint64_t even_stamp, odd_stamp
        cdef uint64_t* even
        self.attach(memory, True)
        PyMem_Free(self.store_counts)
        PyMem_Free(self.is_inherited)
        self.store_counts = <uint64_t*>PyMem_Calloc(self.slots, sizeof(uint64_t))
        self.is_inherited = <uint8_t*>PyMem_Calloc(self.slots, 1)
        if self.store_counts == NULL or self.is_inherited == NULL:
            raise MemoryError
        self.inherited_count = 0
        for k in range(self.slots):
            even = self.even_copy(k)
            even_stamp, odd_stamp = load_acquire(even), load_acquire(even + self.copy_words)
            self.store_counts[k] = max(even_stamp, odd_stamp)
            if self.store_counts[k]:
                self.is_inherited[k] = 1
                self.inherited_count += 1

    def __dealloc__(self):
        PyMem_Free(self.store_counts)
        PyMem_Free(self.is_inherited)

    cdef int put(self, Py_ssize_t index, const char* record, Py_ssize_t size) except -1:
        cdef uint64_t* stamp = self.even_copy(index)
        cdef uint64_t count
        if size > self.room:
            raise MisuseError(f"a record of {size} bytes on a board of {self.room}")
        count = self.store_counts[index] + 1
        if count & 1:
            stamp += self.copy_words
        store_stamped(stamp, count, record, size, self.room)
        self.store_counts[index] = count
        if self.is_inherited[index]:
            self.is_inherited[index] = 0
            self.inherited_count -= 1
        return 0

    def store(self, Py_ssize_t index, bytes record not None):
        self.put(index, PyBytes_AS_STRING(record), PyBytes_GET_SIZE(record))

    cdef inline void complete_to(self, uint64_t sequence) noexcept nogil:
        if self.inherited_count == 0:
            store_release(self.words + CURSOR, sequence)

    def complete(self, uint64_t sequence):
        self.complete_to(sequence)


cdef class BoardReader(Board):
    """See engine.ring.board.BoardReader."""

    cdef public uint64_t torn_count

    def __init__(self, memory):
        self.attach(memory, False)
        self.torn_count = 0

    def read(self, Py_ssize_t index):
        cdef uint64_t* even = self.even_copy(index)
        cdef uint64_t* odd = even + self.copy_words
        cdef uint64_t* newer
        cdef uint64_t even_stamp, odd_stamp, stamp
        cdef bytes record
        cdef bint was_stored = False
        cdef int k
        for k in range(READ_TRIES_MAX):
            even_stamp, odd_stamp = load_acquire(even), load_acquire(odd)
            newer, stamp = even, even_stamp
            if odd_stamp >= even_stamp:
                newer, stamp = odd, odd_stamp
            if stamp:
                record = PyBytes_FromStringAndSize(<char*>(newer + 1), self.room)
                copied()
                if load_relaxed(newer) == stamp:
                    return record
                was_stored = True
        if was_stored:
            self.torn_count += 1
        return None

    def catch_up(self, subscriber):
        upto = self.complete_upto
        if upto + 1 < subscriber.next_sequence:
            return False
        subscriber.jump_to(upto + 1)
        return True


# --- the strategy host: from a slot of a market ring to a callback

cdef enum:
    BOOK_TOP = 1  # engine.records.Kind, FeedState and the bits of a record's code; whoever makes a lane says the same
    LIVE = 1
    STATE_BITS = 3
    UNPROVED = 4
    TIME_BYTES = 28
    LEVEL_BYTES = 16

cdef packed struct Header:
    # engine/records.py has the drawing
    uint8_t kind, code, price_decimals, qty_decimals
    uint16_t pair_index, bids, asks, levels
    char kraken_time[TIME_BYTES]
    int64_t received_at, number


@cython.no_gc
@cython.freelist(64)
cdef class BookTop:
    """See engine.records.BookTop."""

    cdef readonly object symbol
    cdef bytes record
    cdef Py_ssize_t bid_count, ask_count, asks_at
    cdef readonly int64_t received_at, update_number
    cdef public int64_t known_at
    cdef readonly int price_decimals, qty_decimals
    cdef public int state
    cdef public bint is_proved

    def __init__(self, symbol, bytes record not None):
        self.fill(symbol, record)

    cdef int fill(self, symbol, bytes record) except -1:
        cdef Header* header = <Header*>PyBytes_AS_STRING(record)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(record)
        if size < <Py_ssize_t>sizeof(Header):
            raise ValueError(f"a record has {sizeof(Header)} bytes at least, not {size}")
        self.symbol, self.record = symbol, record
        self.received_at, self.update_number = header.received_at, header.number
        self.known_at = header.received_at
        self.state, self.is_proved = header.code & STATE_BITS, header.code < UNPROVED
        self.price_decimals, self.qty_decimals = header.price_decimals, header.qty_decimals
        self.bid_count, self.ask_count = header.bids, header.asks
        self.asks_at = sizeof(Header) + LEVEL_BYTES * <Py_ssize_t>header.levels
        # Counts that reach beyond the record are a broken publisher's; nothing is read there.
        if self.bid_count and <Py_ssize_t>sizeof(Header) + LEVEL_BYTES * self.bid_count > size:
            raise ValueError(f"a record of {size} bytes has no room for {self.bid_count} bids")
        if self.ask_count and self.asks_at + LEVEL_BYTES * self.ask_count > size:
            raise ValueError(f"a record of {size} bytes has no room for {self.ask_count} asks")
        return 0

    cdef object level(self, Py_ssize_t offset):
        cdef int64_t units[2]
        find_record_names()
        memcpy(units, PyBytes_AS_STRING(self.record) + offset, LEVEL_BYTES)
        if units[1] >= 0:
            return Level(units[0], units[1], self.price_decimals, self.qty_decimals)
        ticks, lots = wide_level(units[0], units[1])
        return Level(ticks, lots, self.price_decimals, self.qty_decimals)

    cdef tuple levels(self, Py_ssize_t offset, Py_ssize_t count):
        cdef Py_ssize_t k
        return tuple([self.level(offset + LEVEL_BYTES * k) for k in range(count)])

    @property
    def source(self):
        find_record_names()
        return source_of(self.record)

    @property
    def is_verified(self):
        return (<Header*>PyBytes_AS_STRING(self.record)).kind == BOOK_TOP

    @property
    def age_s(self):
        find_record_names()
        return age_s(self.known_at)

    @property
    def spread_percent(self):
        find_record_names()
        return spread_percent(self.spread, self.mid)

    @property
    def kraken_time(self):
        find_record_names()
        return kraken_wall_ns((<Header*>PyBytes_AS_STRING(self.record)).kraken_time[:TIME_BYTES])

    @property
    def best_bid(self):
        return self.level(sizeof(Header)) if self.bid_count else None

    @property
    def best_ask(self):
        return self.level(self.asks_at) if self.ask_count else None

    @property
    def bids(self):
        return self.levels(sizeof(Header), self.bid_count)

    @property
    def asks(self):
        return self.levels(self.asks_at, self.ask_count)

    @property
    def spread(self):
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        return units_decimal(ask.price_ticks - bid.price_ticks, self.price_decimals)

    @property
    def mid(self):
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        doubled = ask.price_ticks + bid.price_ticks
        if doubled % 2:
            return units_decimal(5 * doubled, self.price_decimals + 1)
        return units_decimal(doubled // 2, self.price_decimals)

    def __repr__(self):
        return f"BookTop({self.symbol} {self.best_bid} | {self.best_ask})"


# Words of a histogram: engine/telemetry/histogram.py, which is compared when one is attached.
cdef enum:
    HISTOGRAM_SUM = 16
    HISTOGRAM_MAX = 17
    FIRST_BUCKET = 24
    SUB_BUCKET_BITS = 5
    LINEAR_BITS = 6
    SHIFT_MAX = 31
    BUCKET_COUNT = 1056

HISTOGRAM_LAYOUT = (HISTOGRAM_SUM, HISTOGRAM_MAX, FIRST_BUCKET, SUB_BUCKET_BITS, LINEAR_BITS, SHIFT_MAX, BUCKET_COUNT)


cdef inline void count_duration(uint64_t* words, int64_t ns) noexcept nogil:
    """As engine.telemetry.histogram.Histogram.record."""
    cdef int shift
    cdef uint64_t* bucket = words + FIRST_BUCKET
    if ns < 0:
        ns = 0
    if <uint64_t>ns > load_relaxed(words + HISTOGRAM_MAX):
        store_relaxed(words + HISTOGRAM_MAX, <uint64_t>ns)
    store_relaxed(words + HISTOGRAM_SUM, load_relaxed(words + HISTOGRAM_SUM) + <uint64_t>ns)
    shift = bit_length(<uint64_t>ns) - LINEAR_BITS
    if shift <= 0:
        bucket += ns
    elif shift <= SHIFT_MAX:
        bucket += (shift << SUB_BUCKET_BITS) + (ns >> shift)
    else:
        bucket += BUCKET_COUNT - 1
    store_relaxed(bucket, load_relaxed(bucket) + 1)


cdef enum:
    EVERY = 0xFF  # instead of channels: records of this kind are taken, whatever is followed


cdef class BookCalls:
    """See engine.strategy_host.book_calls.BookCalls, whose contract it keeps.

    A record is copied when its turn has come, and one that the strategy does not take is not copied at all.
    """

    cdef object host, on_book, call, take_rare, tick_of, mono_ns, latency_ns, forked_words
    cdef list symbols
    cdef dict books, states
    cdef bytearray followed  # by pair index: its channels
    cdef uint8_t channels_of[256]  # by kind; EVERY for one that is always taken
    cdef Py_ssize_t pair_count
    cdef bint is_system_clock
    cdef Held words_memory, latency_memory
    cdef uint64_t* began_word
    cdef uint64_t* number_word
    cdef uint64_t* latency
    cdef uint64_t number
    cdef int64_t slow_ns, busy_ns
    cdef Py_ssize_t told
    cdef readonly bint is_old
    cdef readonly bint is_lapped

    def __init__(self, host, *, Py_ssize_t pairs_max, channels_of, books, states, on_book, call, take_rare, tick_of, words,
                 number, latency, latency_ns, mono_ns, slow_ns, records_max):
        self.host, self.on_book, self.call, self.take_rare, self.tick_of = host, on_book, call, take_rare, tick_of
        self.symbols, self.books, self.followed = [""] * pairs_max, books, bytearray(pairs_max)
        self.states = states
        for kind in range(256):
            self.channels_of[kind] = channels_of.get(kind, EVERY)
        self.pair_count = pairs_max
        self.mono_ns, self.latency_ns, self.slow_ns, self.number = mono_ns, latency_ns, slow_ns, number
        self.is_system_clock = mono_ns is monotonic_ns
        self.forked_words = None
        values, began, callback = words.place
        if not (0 <= began < len(values) and 0 <= callback < len(values)):
            raise MisuseError("the words of a callback lie beside their counters")
        self.words_memory = Held(values, True)
        self.began_word, self.number_word = self.words_memory.words + <size_t>began, self.words_memory.words + <size_t>callback
        self.latency_memory = Held(latency.words, True)
        if len(latency.words) != FIRST_BUCKET + BUCKET_COUNT:
            raise MisuseError(f"a histogram of {len(latency.words)} words")
        self.latency = self.latency_memory.words
        self.is_old = self.is_lapped = False

    def follow(self, Py_ssize_t pair_index, str symbol not None, uint8_t channels):
        """Take records of these channels of a pair, and no others, from the next record on."""
        if not 0 <= pair_index < self.pair_count:
            raise MisuseError(f"there is no pair {pair_index} of {self.pair_count}")
        self.symbols[pair_index] = symbol
        self.followed[pair_index] = channels

    cdef inline bint takes(self, Header* header):
        cdef uint8_t channels = self.channels_of[header.kind]
        cdef Py_ssize_t pair_index = header.pair_index
        return channels == EVERY or (pair_index < self.pair_count and self.followed[pair_index] & channels)

    def skip(self, Subscriber subscriber not None):
        """See the portable twin."""
        cdef uint64_t sequence = subscriber.next_sequence, found
        cdef uint64_t last = sequence + subscriber.slot_count
        cdef uint64_t* stamp
        cdef bint is_taken
        while sequence < last:
            stamp = subscriber.slot_of(sequence)
            found = load_acquire(stamp)
            if found != sequence:
                subscriber.next_sequence = sequence
                return found > sequence or (not found and load_acquire(subscriber.words + CURSOR) >= sequence)
            is_taken = self.takes(<Header*>(stamp + 1))
            copied()
            if is_taken or load_relaxed(stamp) != sequence:
                break
            sequence += 1
        subscriber.next_sequence = sequence
        return True

    def forked(self, words):
        """From now on a callback that begins or returns tells these words, which end the process."""
        self.forked_words = words

    cdef inline int64_t now(self) except? -1:
        return clock_monotonic_ns() if self.is_system_clock else <int64_t>self.mono_ns()

    def take(self, Subscriber subscriber not None, Py_ssize_t limit, int64_t not_before, uint64_t repeats_upto):
        cdef int64_t turn_until = self.host.turn_until
        cdef Py_ssize_t taken
        self.is_old = self.is_lapped = False
        self.told = self.busy_ns = 0
        try:
            taken = self.take_in_place(subscriber, limit, not_before, repeats_upto, turn_until)
        finally:
            if self.told:
                self.host.callbacks += self.told
                self.host.busy_ns += self.busy_ns
        return taken

    cdef Py_ssize_t take_in_place(self, Subscriber subscriber, Py_ssize_t limit, int64_t not_before,
                                  uint64_t repeats_upto, int64_t turn_until) except -1:
        cdef uint64_t sequence, found
        cdef uint64_t* stamp
        cdef Header* header
        cdef bytes record
        cdef Py_ssize_t taken = 0
        cdef uint64_t passed = 0
        while taken < limit and passed < subscriber.slot_count:  # a turn ends also where all is passed over
            sequence = subscriber.next_sequence
            stamp = subscriber.slot_of(sequence)
            found = load_acquire(stamp)
            if found != sequence:
                if found < sequence and (found or load_acquire(subscriber.words + CURSOR) < sequence):
                    break
                if load_acquire(stamp) != sequence:  # not one that was stamped between two of our loads
                    self.is_lapped = True
                    break
            header = <Header*>(stamp + 1)
            record = PyBytes_FromStringAndSize(<char*>header, subscriber.room) if self.takes(header) else None
            copied()
            if load_relaxed(stamp) != sequence:
                self.is_lapped = True
                break
            if record is not None and taken == 0 and (<Header*>PyBytes_AS_STRING(record)).received_at < not_before:
                self.is_old = True
                break
            subscriber.next_sequence = sequence + 1
            if record is None:
                passed += 1
                continue
            taken += 1
            if self.tell(record, sequence <= repeats_upto, turn_until):
                break
        return taken

    cdef bint tell(self, bytes record, bint may_repeat, int64_t turn_until) except -1:
        """Call back with a record; True if the batch is to end."""
        cdef Header* header = <Header*>PyBytes_AS_STRING(record)
        cdef BookTop book
        if not self.takes(header):
            return False
        if header.kind != BOOK_TOP:
            self.take_rare(record)
            return self.host.batch_ends
        symbol = self.symbols[header.pair_index]
        if may_repeat:
            seen = self.books[symbol]
            if self.states[symbol] != LIVE:
                return False
            if seen is not None and (header.received_at, header.number) <= (seen.received_at, seen.update_number):
                return False
        book = BookTop.__new__(BookTop)
        book.fill(symbol, record)
        self.books[symbol] = book
        return self.on_book is not None and self.call_back(book, turn_until)

    cdef bint call_back(self, BookTop book, int64_t turn_until) except -1:
        """As `HostedStrategy._call_measured`."""
        cdef int64_t began = self.now(), ended, took_ns
        cdef bint ends = False, waits = False
        if self.forked_words is not None:
            self.forked_words.begin(self.number, began)
        store_relaxed(self.number_word, self.number)
        store_relaxed(self.began_word, <uint64_t>began)
        if self.latency_ns is None:
            count_duration(self.latency, began - book.received_at)
        else:
            count_duration(self.latency, self.latency_ns(book.received_at))
        self.told += 1
        if self.tick_of is not None:
            self.tick_of.tick_at = book.received_at
        try:
            answer = self.on_book(book)
            if answer is not None:
                self.host.go_on(self.on_book, answer)
                waits = self.host.waiting is not None
                ends = self.host.batch_ends
        except BaseException as error:
            self.host.callback_failed(self.on_book, error)
            ends = self.host.batch_ends
        if self.forked_words is not None:
            self.forked_words.end()
        ended = self.now()
        if not waits:
            store_relaxed(self.began_word, 0)
        took_ns = ended - began
        self.busy_ns += took_ns
        if took_ns > self.slow_ns:
            self.host.was_slow(self.on_book, took_ns)
            return True
        return ends or ended > turn_until


# --- book

def crc32(bytes text not None, uint32_t crc=0):
    """As zlib.crc32; for tests."""
    return crc32_of(crc, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


def crc32_by_tables(bytes text not None, uint32_t crc=0):
    """The same on a machine without carry-less multiplication; for tests."""
    global crc32_folds
    folds, crc32_folds = crc32_folds, 0
    try:
        return crc32_of(crc, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    finally:
        crc32_folds = folds


cdef struct Message:
    # Levels of one message in ticks and lots, converted before anything is changed.
    int64_t* units
    Py_ssize_t count


cdef class PlainLevel:
    """A level in ticks and lots, as the portable book takes it."""

    cdef readonly object price
    cdef readonly object qty

    def __init__(self, price, qty):
        self.price, self.qty = price, qty


cdef class Side:
    """One side of a native book, to look at; see engine.market.book.Side."""

    cdef Book book
    cdef BookSide* side
    cdef bint is_bids

    cdef object wide(self):
        if self.book._wide is None:
            return None
        return self.book._wide.bids if self.is_bids else self.book._wide.asks

    def __len__(self):
        wide = self.wide()
        return self.side.count if wide is None else len(wide)

    @property
    def depth(self):
        return self.book.depth

    @property
    def units(self):
        cdef int32_t k
        wide = self.wide()
        if wide is not None:
            return wide.units
        return [self.side.units[k] for k in range(2 * self.side.count)]

    def levels(self):
        units = self.units
        return iter([(units[k], units[k + 1]) for k in range(0, len(units), 2)])

    def best(self):
        wide = self.wide()
        if wide is not None:
            return wide.best()
        return (self.side.units[0], self.side.units[1]) if self.side.count else None

    @property
    def top_units(self):
        cdef Py_ssize_t count
        wide = self.wide()
        if wide is not None:
            return wide.top_units
        count = min(<Py_ssize_t>self.side.count, self.book.publish_levels)
        return PyBytes_FromStringAndSize(<char*>self.side.units, 16 * count) if count else b""

    @property
    def top_text(self):
        wide = self.wide()
        return PyBytes_FromStringAndSize(self.side.text, self.side.text_size) if wide is None else wide.top_text

    def check(self):
        """Assert every invariant of a side; for tests, and for whoever doubts."""
        cdef int32_t k
        wide = self.wide()
        if wide is not None:
            wide.check()
            return
        levels = list(self.levels())
        keys = [-ticks if self.is_bids else ticks for ticks, _ in levels]
        assert keys == sorted(set(keys))
        assert len(levels) <= self.book.depth
        assert all(lots > 0 for _, lots in levels)
        assert self.side.token_count == min(10, len(levels))
        tokens = [self.side.tokens[k].text[: self.side.tokens[k].size] for k in range(self.side.token_count)]
        assert tokens == [b"%d%d" % level for level in levels[:10]]
        assert self.top_text == b"".join(tokens)
        assert self.top_units == pack_levels(self.units[: 2 * self.book.publish_levels])
        assert self.side.count <= self.side.capacity <= max(4 * (self.book.depth + 64), 1)


cdef class Book:
    """One pair's order book on flat arrays; see engine.market.book.Book, whose contract it keeps.

    Numbers that are negative or need more than 63 bits are the portable book's: the first of them moves the levels
    into one, which has the word until the book is cleared.
    """

    cdef BookSide ask_side
    cdef BookSide bid_side
    cdef object _wide
    cdef uint32_t asks_crc
    cdef double price_scale, qty_scale
    cdef readonly Py_ssize_t depth
    cdef readonly int price_decimals, qty_decimals
    cdef readonly Py_ssize_t publish_levels

    def __init__(self, int32_t depth, int price_decimals, int qty_decimals, Py_ssize_t publish_levels=10):
        find_book_names()
        if depth < 1 or publish_levels < 0 or price_decimals < 0 or qty_decimals < 0:
            raise ValueError(f"no book of {depth} levels, {price_decimals} and {qty_decimals} decimals")
        self.depth, self.publish_levels = depth, publish_levels
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self.price_scale, self.qty_scale = 10.0**price_decimals, 10.0**qty_decimals
        side_free(&self.ask_side)
        side_free(&self.bid_side)
        side_init(&self.ask_side, depth, 0)
        side_init(&self.bid_side, depth, 1)
        self._wide = None
        self.asks_crc = 0

    def __dealloc__(self):
        side_free(&self.ask_side)
        side_free(&self.bid_side)

    cdef Side view_of(self, BookSide* side, bint is_bids):
        cdef Side view = Side.__new__(Side)
        view.book, view.side, view.is_bids = self, side, is_bids
        return view

    @property
    def bids(self):
        return self.view_of(&self.bid_side, True)

    @property
    def asks(self):
        return self.view_of(&self.ask_side, False)

    def apply(self, bids, asks):
        """UnitsTooLarge: a number is too large to be exact as a float, and nothing has changed."""
        cdef Message bid_message, ask_message
        if self._wide is not None:
            return self._wide.apply(bids, asks)
        bid_message.units = ask_message.units = NULL
        try:
            if self.from_floats(asks, &ask_message) or self.from_floats(bids, &bid_message):
                self.widen()
                return self._wide.apply(bids, asks)
            self.apply_messages(&bid_message, &ask_message)
        finally:
            PyMem_Free(bid_message.units)
            PyMem_Free(ask_message.units)
        return self.crc()

    def apply_units(self, bids, asks):
        cdef Message bid_message, ask_message
        if self._wide is not None:
            self._wide.apply_units(bids, asks)
            return
        bid_message.units = ask_message.units = NULL
        try:
            if self.from_units(asks, &ask_message) or self.from_units(bids, &bid_message):
                self.widen()
                self._wide.apply_units(bids, asks)
                return
            self.apply_messages(&bid_message, &ask_message)
        finally:
            PyMem_Free(bid_message.units)
            PyMem_Free(ask_message.units)

    cdef int begin(self, Message* message, levels) except -1:
        message.count = len(levels)
        if message.count > INT32_MAX // 4:
            raise MemoryError
        message.units = NULL
        if message.count:
            message.units = <int64_t*>PyMem_Malloc(message.count * 16)
            if message.units == NULL:
                raise MemoryError
        return 0

    cdef int from_floats(self, levels, Message* message) except -1:
        """Ticks and lots of levels in the pair's currencies; 1 when one of them is the portable book's."""
        cdef double ticks, lots
        cdef Py_ssize_t k = 0
        self.begin(message, levels)
        for level in levels:
            ticks = PyFloat_AsDouble(level.price) * self.price_scale + 0.5
            lots = PyFloat_AsDouble(level.qty) * self.qty_scale + 0.5
            # Finite, and no more than 2**50 when cut: so said that a NaN fails it.
            if not (-1.0 < ticks < 1125899906842625.0 and -1.0 < lots < 1125899906842625.0):
                ticks_cut, lots_cut = int(ticks), int(lots)  # ValueError of a NaN, OverflowError of an infinity
                if ticks_cut > 2**50 or lots_cut > 2**50:
                    raise UnitsTooLarge(f"{max(ticks_cut, lots_cut)} units")
                return 1
            message.units[2 * k] = <int64_t>ticks
            message.units[2 * k + 1] = <int64_t>lots
            k += 1
        return 0

    cdef int from_units(self, levels, Message* message) except -1:
        cdef int ticks_overflow = 0, lots_overflow = 0
        cdef long long ticks, lots
        cdef Py_ssize_t k = 0
        self.begin(message, levels)
        for level in levels:
            ticks = PyLong_AsLongLongAndOverflow(level.price, &ticks_overflow)
            lots = PyLong_AsLongLongAndOverflow(level.qty, &lots_overflow)
            if ticks_overflow or lots_overflow or ticks < 0 or lots < 0:
                return 1
            message.units[2 * k] = ticks
            message.units[2 * k + 1] = lots
            k += 1
        return 0

    cdef int apply_messages(self, Message* bids, Message* asks) except -1:
        """Both sides; MemoryError comes before anything is changed."""
        cdef int32_t changed_from
        cdef Py_ssize_t k
        if not side_reserve(&self.ask_side, <int32_t>asks.count) or not side_reserve(&self.bid_side, <int32_t>bids.count):
            raise MemoryError
        if asks.count:
            changed_from = UNCHANGED
            for k in range(asks.count):
                changed_from = side_apply(&self.ask_side, asks.units[2 * k], asks.units[2 * k + 1], changed_from)
            if side_settle(&self.ask_side, changed_from):
                self.asks_crc = crc32_of(0, self.ask_side.text, self.ask_side.text_size)
        if bids.count:
            changed_from = UNCHANGED
            for k in range(bids.count):
                changed_from = side_apply(&self.bid_side, bids.units[2 * k], bids.units[2 * k + 1], changed_from)
            side_settle(&self.bid_side, changed_from)
        return 0

    cdef int widen(self) except -1:
        """Move the levels into a portable book."""
        wide = PortableBook(self.depth, self.price_decimals, self.qty_decimals, self.publish_levels)
        bids = [PlainLevel(ticks, lots) for ticks, lots in self.bids.levels()]
        asks = [PlainLevel(ticks, lots) for ticks, lots in self.asks.levels()]
        wide.apply_units(bids, asks)
        self._wide = wide
        side_clear(&self.bid_side)
        side_clear(&self.ask_side)
        return 0

    cdef inline uint32_t crc(self) noexcept:
        return crc32_of(self.asks_crc, self.bid_side.text, self.bid_side.text_size)

    cdef inline bint is_crossed(self) noexcept:
        return (
            self.bid_side.count > 0
            and self.ask_side.count > 0
            and self.bid_side.units[0] >= self.ask_side.units[0]
        )

    def clear(self):
        self._wide = None
        side_clear(&self.bid_side)
        side_clear(&self.ask_side)
        self.asks_crc = 0

    def checksum(self):
        return self.crc() if self._wide is None else self._wide.checksum()

    def crossed(self):
        return self.is_crossed() if self._wide is None else self._wide.crossed()

    def check(self):
        """Assert every invariant of both sides, and that the book is not crossed."""
        self.bids.check()
        self.asks.check()
        if self._wide is None:
            assert self.asks_crc == crc32_of(0, self.ask_side.text, self.ask_side.text_size)
        else:
            self._wide.check()
        assert not self.crossed()


# --- the lane: a frame's bytes, their book, its record in the ring

cdef class BookStatus:
    """See engine.kraken.public.book_status.BookStatus: what the session and the lane both read and write."""

    cdef public object book
    cdef object _state
    cdef object _timestamp  # None: the lane's bytes are newer
    cdef public bint streaming
    cdef public bint is_direct
    cdef bint is_live
    cdef int32_t time_size
    cdef char time[TIME_BYTES]
    cdef public int64_t heard_at
    cdef public int64_t updates

    @property
    def state(self):
        return self._state

    @state.setter
    def state(self, state):
        self._state = state
        self.is_live = int(state) == LIVE

    @property
    def timestamp(self):
        if self._timestamp is None:
            self._timestamp = self.time[: self.time_size].decode("ascii")
        return self._timestamp

    @timestamp.setter
    def timestamp(self, str timestamp not None):
        self._timestamp = timestamp


cdef class Heard:
    """See engine.kraken.public.book_status.PlainHeard."""

    cdef public int64_t heard_at


cdef class LanePair:
    """A pair as the lane needs it."""

    cdef BookStatus status
    cdef bytes symbol
    cdef uint16_t index
    cdef char* record  # the last one published
    cdef bint is_dirty  # and not yet stored on the board

    def __dealloc__(self):
        PyMem_Free(self.record)


cdef class Lane:
    """See engine.public_feed.lane: book updates from their bytes to their records.

    What it does not take, it has not counted, published or told. The one trace it may leave is in the book: a message
    whose checksum it finds wrong, or after which the book is crossed, has been applied. The session then applies it
    again, which changes nothing (levels are absolute, and what a first time dropped beyond the depth a second time
    drops too), finds the same, and does what is to be done about it.
    """

    cdef Publisher publisher
    cdef BoardWriter board
    cdef dict pairs
    cdef LanePair last
    cdef void** dirty
    cdef Py_ssize_t dirty_count
    cdef Py_ssize_t levels, record_bytes
    cdef object session_receive
    cdef object note_counted
    cdef Heard heard
    cdef Held counters
    cdef uint64_t* heard_counter
    cdef dict older  # what waits for the board beside the lane's own, by pair
    cdef bint is_closed
    cdef FrameTaker frame_taker
    cdef readonly uint64_t taken

    def __init__(self, Publisher publisher not None, BoardWriter board not None, feeds, Py_ssize_t publish_levels,
                 receive, Heard heard not None, note_counted, heard_counter, dict older not None, *,
                 int book_top, int live):
        find_ring_names()
        self.record_bytes = sizeof(Header) + 2 * LEVEL_BYTES * publish_levels
        if self.record_bytes > min(publisher.room, board.room) or publisher.is_gated:
            raise MisuseError(f"records of {publish_levels} levels do not fit the ring")
        if (book_top, live) != (BOOK_TOP, LIVE):
            raise MisuseError("records have other numbers than the lane was built for")
        self.publisher, self.board, self.levels = publisher, board, publish_levels
        self.session_receive, self.heard, self.older = receive, heard, older
        self.note_counted = note_counted
        values, index = heard_counter
        if not 0 <= index < len(values):
            raise MisuseError(f"there is no counter {index} of {len(values)}")
        self.counters = Held(values, True)
        self.heard_counter = self.counters.words + <size_t>index
        self.pairs = {}
        self.dirty_count = 0
        self.last = None
        for symbol, feed in feeds.items():
            self.add(symbol, feed)

    def __dealloc__(self):
        PyMem_Free(self.dirty)

    def add(self, str symbol not None, feed):
        """Take updates of this pair too, from the index of its feed."""
        cdef LanePair pair = LanePair.__new__(LanePair)
        cdef void** dirty
        self.store()  # no pair that is about to be replaced waits for the board
        pair.status, pair.symbol, pair.index = feed, symbol.encode(), feed.pair_index
        pair.record = <char*>PyMem_Calloc(1, self.record_bytes)
        if pair.record == NULL:
            raise MemoryError
        dirty = <void**>PyMem_Realloc(self.dirty, (len(self.pairs) + 1) * sizeof(void*))
        if dirty == NULL:
            raise MemoryError
        self.dirty = dirty
        self.pairs[pair.symbol] = pair
        self.last = None

    def receive(self, bytes frame not None, received_at):
        """Take a frame, or have the session take it; the events that are to be told."""
        if take_frame(<void*>self, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), received_at):
            return ()
        return self.session_receive(frame, received_at)

    def taker(self):
        """For the compiled listener: how to give this lane a frame that is still in the socket's buffer."""
        self.frame_taker.take = take_frame
        self.frame_taker.settle = settle_lane
        self.frame_taker.lane = <void*>self
        return PyCapsule_New(&self.frame_taker, FRAME_TAKER, NULL)

    cdef bint take(self, const char* frame, size_t size, int64_t received_at) except -1:
        """Apply, verify and publish a plain update of a live book; False: it is not that, see the class."""
        cdef BookUpdate update
        cdef LanePair pair
        cdef BookStatus status
        cdef Book book
        if self.is_closed or not update_scan(frame, size, &update):
            return False
        pair = self.last
        if (
            pair is None
            or PyBytes_GET_SIZE(pair.symbol) != update.symbol_size
            or memcmp(PyBytes_AS_STRING(pair.symbol), update.symbol, update.symbol_size)
        ):
            pair = self.find(&update)
            if pair is None:
                return False
        status = pair.status
        if not (status.streaming and status.is_live and status.is_direct) or type(status.book) is not Book:
            return False
        book = <Book>status.book
        if book._wide is not None or not update_to_pair(&update, book.price_decimals, book.qty_decimals):
            return False
        if not apply_update(book, &update) or book.crc() != update.checksum or book.is_crossed():
            return False
        status.updates += 1
        status.heard_at = received_at
        status._timestamp = None
        status.time_size = update.time_size
        memcpy(status.time, update.time, update.time_size)
        self.tell(pair, book, received_at)
        self.taken += 1
        return True

    cdef LanePair find(self, BookUpdate* update):
        """The pair of an update, which the next one is likely to be of too; None when it is none of ours."""
        pair = self.pairs.get(PyBytes_FromStringAndSize(update.symbol, update.symbol_size))
        if pair is not None:
            self.last = pair
        return pair

    cdef void tell(self, LanePair pair, Book book, int64_t received_at) noexcept:
        """Publish the book's top, and keep the record for the board."""
        cdef Header* header = <Header*>pair.record
        cdef char* bids = pair.record + sizeof(Header)
        cdef char* asks = bids + LEVEL_BYTES * self.levels
        cdef BookStatus status = pair.status
        header.kind = BOOK_TOP
        header.code = LIVE
        header.price_decimals = <uint8_t>book.price_decimals
        header.qty_decimals = <uint8_t>book.qty_decimals
        header.pair_index = pair.index
        header.levels = <uint16_t>self.levels
        memset(header.kraken_time, 0, TIME_BYTES)
        memcpy(header.kraken_time, status.time, status.time_size)
        header.received_at = received_at
        header.number = status.updates
        header.bids = put_levels(bids, &book.bid_side, min(self.levels, book.publish_levels), self.levels)
        header.asks = put_levels(asks, &book.ask_side, min(self.levels, book.publish_levels), self.levels)
        self.publisher.put(pair.record, self.record_bytes)
        if not pair.is_dirty:
            pair.is_dirty = True
            self.dirty[self.dirty_count] = <void*>pair
            self.dirty_count += 1

    cpdef store(self):
        """Bring the board up to what the lane has published; what waits of the same pairs beside it is dropped.

        The session learns which feeds have counted since: it writes the counters of no other.
        """
        cdef Py_ssize_t k
        cdef LanePair pair
        for k in range(self.dirty_count):
            pair = <LanePair>self.dirty[k]
            self.board.put(pair.index, pair.record, self.record_bytes)
            pair.is_dirty = False
            self.note_counted(pair.status)
            if self.older:
                self.older.pop(pair.index, None)
        self.dirty_count = 0

    def settle(self):
        """The end of a burst, when nothing waits for the board beside the lane's own; False: something does."""
        return settle_lane(<void*>self) == 1

    def close(self):
        """From now on everything is the session's."""
        self.is_closed = True


cdef int take_frame(void* lane, const char* frame, size_t size, int64_t received_at) except -1:
    cdef Lane self = <Lane>lane
    if not self.take(frame, size, received_at):
        return 0
    self.heard.heard_at = received_at
    return 1


cdef int settle_lane(void* lane) except -1:
    cdef Lane self = <Lane>lane
    if self.older:
        self.store()
        if self.older:
            return 0
    store_relaxed(self.heard_counter, <uint64_t>self.heard.heard_at)
    self.publisher.flush()
    self.store()
    self.board.complete_to(self.publisher.cursor)
    return 1


cdef inline uint16_t put_levels(char* block, BookSide* side, Py_ssize_t levels_max, Py_ssize_t room) noexcept nogil:
    """The best levels of a side into their block, zeros behind them; how many."""
    cdef Py_ssize_t count = min(<Py_ssize_t>side.count, levels_max)
    if count:
        memcpy(block, side.units, LEVEL_BYTES * count)
    memset(block + LEVEL_BYTES * count, 0, LEVEL_BYTES * (room - count))
    return <uint16_t>count


cdef inline bint apply_update(Book book, BookUpdate* update) noexcept:
    """Both sides; False, and nothing has changed, when there is no memory."""
    cdef int32_t changed_from, k
    if not side_reserve(&book.ask_side, update.ask_count) or not side_reserve(&book.bid_side, update.bid_count):
        return False
    if update.ask_count:
        changed_from = UNCHANGED
        for k in range(update.bid_count, update.bid_count + update.ask_count):
            changed_from = side_apply(
                &book.ask_side, update.levels[k].price.number, update.levels[k].qty.number, changed_from
            )
        if side_settle(&book.ask_side, changed_from):
            book.asks_crc = crc32_of(0, book.ask_side.text, book.ask_side.text_size)
    if update.bid_count:
        changed_from = UNCHANGED
        for k in range(update.bid_count):
            changed_from = side_apply(
                &book.bid_side, update.levels[k].price.number, update.levels[k].qty.number, changed_from
            )
        side_settle(&book.bid_side, changed_from)
    return True


cdef class AccountLane:
    """See engine.private_feed.lane: updates of executions from their bytes to their records."""

    cdef Publisher publisher
    cdef object session_receive, accept, held_back
    cdef char* records
    cdef size_t room
    cdef FrameTaker frame_taker
    cdef readonly uint64_t rows

    def __init__(self, Publisher publisher not None, receive, accept, held_back not None, *, fields):
        find_ring_names()
        if [row_keys[k].name.decode() for k in range(ROW_FIELDS)] != fields:
            raise MisuseError("records of executions have other fields than the lane was built for")
        if not publisher.is_gated:
            raise MisuseError("the account ring is a gated one")
        self.publisher, self.room = publisher, publisher.room
        self.session_receive, self.accept, self.held_back = receive, accept, held_back
        self.records = <char*>PyMem_Malloc(ROWS_MAX * self.room)
        if self.records == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.records)

    def receive(self, bytes frame not None, received_at):
        """Take a frame, or have the session take it; the events that are to be told."""
        if self.take(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), received_at):
            return ()
        return self.session_receive(frame, received_at)

    def taker(self):
        """For the compiled listener: how to give this lane a frame that is still in the socket's buffer."""
        self.frame_taker.take = take_execution
        self.frame_taker.settle = settle_account
        self.frame_taker.lane = <void*>self
        return PyCapsule_New(&self.frame_taker, FRAME_TAKER, NULL)

    cdef bint take(self, const char* frame, size_t size, int64_t received_at) except -1:
        """Publish the rows of a plain update that is the next in order, and wake the router; False: it is not that,
        and nothing has happened."""
        cdef size_t[ROWS_MAX] sizes
        cdef int64_t sequence
        cdef int count, k
        count = rows_scan(frame, size, received_at, self.records, self.room, sizes, &sequence)
        if count == 0 or self.held_back:
            return False
        if self.publisher.cursor + count > self.publisher.free_upto:
            self.publisher.has_room()
            if self.publisher.cursor + count > self.publisher.free_upto:
                return False
        if not self.accept(sequence, PyBytes_FromStringAndSize(frame, size), received_at):
            return False
        for k in range(count):
            self.publisher.put(self.records + k * self.room, sizes[k])
        self.publisher.flush()
        self.rows += count
        return True


cdef int take_execution(void* lane, const char* frame, size_t size, int64_t received_at) except -1:
    return (<AccountLane>lane).take(frame, size, received_at)


cdef int settle_account(void* lane) except -1:
    return 1  # the router was told of each frame


def scanned(bytes frame not None):
    """What the scanner makes of a frame, for tests: symbol, bids, asks, checksum, time; None when it is not its own.

    A level is the digits and the decimals of its price, and those of its quantity.
    """
    cdef BookUpdate update
    cdef int32_t k
    if not update_scan(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), &update):
        return None
    levels = [
        (update.levels[k].price.number, update.levels[k].price.decimals,
         update.levels[k].qty.number, update.levels[k].qty.decimals)
        for k in range(update.bid_count + update.ask_count)
    ]
    symbol = PyBytes_FromStringAndSize(update.symbol, update.symbol_size)
    time = PyBytes_FromStringAndSize(update.time, update.time_size)
    return symbol, levels[: update.bid_count], levels[update.bid_count :], update.checksum, time
