/* A scanner of Kraken's book update as it is written today, and of nothing else:
 *
 *   {"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":63388.7,"qty":0.25761908},…],
 *   "asks":[…],"checksum":261162761,"timestamp":"2026-08-02T03:35:51.661460Z"}]}
 *
 * It says yes only to a whole frame of this form in which nothing is left to interpretation: one entry, these keys in
 * this order, no blanks, no escapes, numbers of plain digits. To everything else it says no, and the general decoder
 * has the word. It never reads beyond the frame's last byte. */
#ifndef ENGINE_BOOK_UPDATE_H
#define ENGINE_BOOK_UPDATE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UPDATE_LEVELS_MAX 256 /* both sides together; more, and the general decoder takes the frame */
#define UPDATE_DIGITS_MAX 18  /* of a number: less than 2**63 whatever they are */
#define UPDATE_TIME_BYTES_MAX 28 /* what a record has room for */

typedef struct {
    int64_t number; /* its digits, the point left out */
    uint32_t decimals;
} UpdateNumber;

typedef struct {
    UpdateNumber price, qty;
} UpdateLevel;

typedef struct {
    const char *symbol, *time;
    int32_t symbol_size, time_size;
    int32_t bid_count, ask_count;
    uint32_t checksum;
    UpdateLevel levels[UPDATE_LEVELS_MAX]; /* bids, then asks, each in the order of the wire */
} BookUpdate;

/* The literal text at p: what follows it, or NULL. */
#define UPDATE_EXPECT(p, end, text) \
    ((size_t)((end) - (p)) >= sizeof(text) - 1 && memcmp((p), (text), sizeof(text) - 1) == 0 ? (p) + sizeof(text) - 1 : NULL)

static inline int update_is_digit(const char *p, const char *end) { return p < end && (unsigned char)(*p - '0') <= 9; }

/* Digits, perhaps a point and more of them: what follows, or NULL. */
static inline const char *update_number(const char *p, const char *end, UpdateNumber *out) {
    const char *begin = p;
    int64_t number = 0;
    int digits = 0;
    out->decimals = 0;
    if (!update_is_digit(p, end)) return NULL;
    while (update_is_digit(p, end)) {
        if (++digits > UPDATE_DIGITS_MAX) return NULL;
        number = number * 10 + (*p++ - '0');
    }
    if (*begin == '0' && p - begin > 1) return NULL; /* JSON has no leading zeros */
    if (p < end && *p == '.') {
        p++;
        begin = p;
        while (update_is_digit(p, end)) {
            if (++digits > UPDATE_DIGITS_MAX) return NULL;
            number = number * 10 + (*p++ - '0');
        }
        if (p == begin) return NULL;
        out->decimals = (uint32_t)(p - begin);
    }
    out->number = number;
    return p;
}

/* The levels of one side, from behind its bracket to behind the closing one. */
static inline const char *update_side(const char *p, const char *end, BookUpdate *out, int32_t *count) {
    int32_t k = *count;
    if (p < end && *p == ']') return p + 1;
    for (;;) {
        if (k == UPDATE_LEVELS_MAX) return NULL;
        if ((p = UPDATE_EXPECT(p, end, "{\"price\":")) == NULL) return NULL;
        if ((p = update_number(p, end, &out->levels[k].price)) == NULL) return NULL;
        if ((p = UPDATE_EXPECT(p, end, ",\"qty\":")) == NULL) return NULL;
        if ((p = update_number(p, end, &out->levels[k].qty)) == NULL) return NULL;
        if (end - p < 2 || *p++ != '}') return NULL;
        k++;
        if (*p == ']') {
            *count = k;
            return p + 1;
        }
        if (*p++ != ',') return NULL;
    }
}

/* Is this frame a book update, whole and plain? `out` points into the frame, and holds sense only after a 1. */
static inline int update_scan(const char *frame, size_t size, BookUpdate *out) {
    const char *p = frame, *end = frame + size;
    int32_t count = 0;
    uint64_t checksum = 0;
    if ((p = UPDATE_EXPECT(p, end, "{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"")) == NULL) return 0;
    out->symbol = p;
    while (p < end && *p >= ' ' && *p < 0x7f && *p != '"' && *p != '\\') p++; /* others need decoding */
    out->symbol_size = (int32_t)(p - out->symbol);
    if ((p = UPDATE_EXPECT(p, end, "\",\"bids\":[")) == NULL) return 0;
    if ((p = update_side(p, end, out, &count)) == NULL) return 0;
    out->bid_count = count;
    if ((p = UPDATE_EXPECT(p, end, ",\"asks\":[")) == NULL) return 0;
    if ((p = update_side(p, end, out, &count)) == NULL) return 0;
    out->ask_count = count - out->bid_count;
    if ((p = UPDATE_EXPECT(p, end, ",\"checksum\":")) == NULL) return 0;
    {
        const char *begin = p;
        if (!update_is_digit(p, end)) return 0;
        while (update_is_digit(p, end)) {
            checksum = checksum * 10 + (uint64_t)(*p++ - '0');
            if (checksum >> 32) return 0;
        }
        if (*begin == '0' && p - begin > 1) return 0;
    }
    out->checksum = (uint32_t)checksum;
    if ((p = UPDATE_EXPECT(p, end, ",\"timestamp\":\"")) == NULL) return 0;
    out->time = p;
    while (p < end && ((*p >= '0' && *p <= ':') || *p == '-' || *p == '.' || *p == 'T' || *p == 'Z')) p++;
    if (p - out->time > UPDATE_TIME_BYTES_MAX) return 0;
    out->time_size = (int32_t)(p - out->time);
    return (p = UPDATE_EXPECT(p, end, "\"}]}")) != NULL && p == end;
}

static const int64_t update_powers[UPDATE_DIGITS_MAX + 1] = {
    1LL, 10LL, 100LL, 1000LL, 10000LL, 100000LL, 1000000LL, 10000000LL, 100000000LL, 1000000000LL, 10000000000LL,
    100000000000LL, 1000000000000LL, 10000000000000LL, 100000000000000LL, 1000000000000000LL, 10000000000000000LL,
    100000000000000000LL, 1000000000000000000LL};

/* The number in units of 10**-decimals, exactly; 0 when it is finer than those, or beyond 63 bits in them. */
static inline int update_to_units(UpdateNumber *number, uint32_t decimals) {
    if (number->decimals == decimals) return 1;
    if (number->decimals > decimals || decimals - number->decimals > UPDATE_DIGITS_MAX) return 0;
    if (__builtin_mul_overflow(number->number, update_powers[decimals - number->decimals], &number->number)) return 0;
    number->decimals = decimals;
    return 1;
}

/* Every number of an update in the units of its pair; 0 when one of them has none there. */
static inline int update_to_pair(BookUpdate *update, uint32_t price_decimals, uint32_t qty_decimals) {
    for (int32_t k = 0; k < update->bid_count + update->ask_count; k++) {
        if (!update_to_units(&update->levels[k].price, price_decimals)) return 0;
        if (!update_to_units(&update->levels[k].qty, qty_decimals)) return 0;
    }
    return 1;
}

#endif
