/* Numbers as a request and a journal record hold them, and amounts as a strategy gives them: 63 bits, and exact.
 * What has more is left to the portable code. */
#ifndef ENGINE_ORDER_TEXT_H
#define ENGINE_ORDER_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "book_update.h"
#include "digits.h"

#define ORDER_DECIMALS_MAX 255 /* a byte of a command's shape */
#define UNITS_BYTES_MAX (NUMBER_BYTES_MAX + 1 + ORDER_DECIMALS_MAX + 1)
#define PACKED_INT_BYTES_MAX 9

/* The JSON number of units × 10**-decimals, as `units_number` writes it; how many bytes. Units are not negative. */
static inline int put_units(char *out, int64_t units, uint32_t decimals) {
    char digits[NUMBER_BYTES_MAX];
    int count = put_number(digits, (uint64_t)units), whole = count - (int)decimals;
    if (decimals == 0) {
        memcpy(out, digits, (size_t)count);
        memcpy(out + count, ".0", 2);
        return count + 2;
    }
    if (whole <= 0) { /* zeros before its first digit */
        memset(out, '0', (size_t)(2 - whole));
        out[1] = '.';
        memcpy(out + 2 - whole, digits, (size_t)count);
        return 2 + (int)decimals;
    }
    memcpy(out, digits, (size_t)whole);
    out[whole] = '.';
    memcpy(out + whole + 1, digits + whole, decimals);
    return count + 1;
}

static inline int put_word(char *out, uint8_t tag, uint64_t word, int bytes) {
    out[0] = (char)tag;
    for (int k = 0; k < bytes; k++) out[1 + k] = (char)(word >> 8 * (bytes - 1 - k));
    return 1 + bytes;
}

/* A number that is not negative as MessagePack has it, in as few bytes as it takes; how many. */
static inline int put_packed_int(char *out, int64_t number) {
    uint64_t word = (uint64_t)number;
    if (word < 0x80) {
        out[0] = (char)word;
        return 1;
    }
    if (word <= 0xff) return put_word(out, 0xcc, word, 1);
    if (word <= 0xffff) return put_word(out, 0xcd, word, 2);
    if (word <= 0xffffffff) return put_word(out, 0xce, word, 4);
    return put_word(out, 0xcf, word, 8);
}

/* Units of 10**-decimals in an amount of plain digits with at most one point; 0 when it is no such text, finer than
 * the units, or beyond 18 digits. */
static inline int64_t units_in(const char *text, size_t size, uint32_t decimals) {
    UpdateNumber number;
    const char *end = text + size;
    if (update_number(text, end, &number) != end) return 0;
    while (number.decimals > decimals && number.number % 10 == 0) {
        number.number /= 10;
        number.decimals--;
    }
    return update_to_units(&number, decimals) ? number.number : 0;
}

#endif
