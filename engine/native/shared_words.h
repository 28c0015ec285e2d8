/* Words that other processes see, in C11's memory model; the order of the stores is in engine/ring/layout.py.
 *
 * Every store into shared memory goes through here, so that a test can end a writer between any two of them
 * (`end_stores`): it is killed before store n, or its stores from n on do not happen, which is what the others
 * see of one that was killed. Not ended, that costs a load and a branch that is predicted. */
#ifndef ENGINE_SHARED_WORDS_H
#define ENGINE_SHARED_WORDS_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

static int64_t stores_left = -1; /* -1: no end is set */
static int end_is_kill = 0;

static int __attribute__((noinline, cold)) store_before_end(void) {
    if (stores_left > 0) {
        stores_left--;
        return 1;
    }
    if (end_is_kill) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    return 0;
}

static inline int may_store(void) { return __builtin_expect(stores_left < 0, 1) || store_before_end(); }

static inline void end_stores(int64_t after, int is_kill) {
    stores_left = after;
    end_is_kill = is_kill;
}

static inline void store_relaxed(uint64_t *word, uint64_t value) {
    if (may_store()) __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void store_release(uint64_t *word, uint64_t value) {
    if (may_store()) __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline uint64_t load_acquire(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline uint64_t load_relaxed(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
static inline void fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
static inline void fence_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* A record into its slot, filled up with zeros to `room` bytes. Under a test's end it goes in two halves, each
 * of them a store: a kill may come in the middle. */
static inline void store_record(char *slot, const char *record, size_t size, size_t room) {
    if (__builtin_expect(stores_left >= 0, 0)) {
        size_t half = size / 2;
        if (!may_store()) return;
        memcpy(slot, record, half);
        if (!may_store()) return;
        memcpy(slot + half, record + half, size - half);
        memset(slot + size, 0, room - size);
        return;
    }
    memcpy(slot, record, size);
    memset(slot + size, 0, room - size);
}

/* The seqlock of a slot, for its one writer: stamp 0, record, stamp. A reader that sees a byte of the record sees
 * at least the 0, and so throws its copy away. */
static inline void store_stamped(uint64_t *stamp, uint64_t value, const char *record, size_t size, size_t room) {
    store_relaxed(stamp, 0);
    fence_release();
    store_record((char *)(stamp + 1), record, size, room);
    store_release(stamp, value);
}

#endif
