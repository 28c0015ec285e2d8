#ifndef ENGINE_DIGITS_H
#define ENGINE_DIGITS_H

#include <stdint.h>
#include <string.h>

#define NUMBER_BYTES_MAX 20 /* the digits of 64 bits */

/* The decimal digits of a number; how many. */
static inline int put_number(char *out, uint64_t number) {
    char digits[NUMBER_BYTES_MAX];
    int first = NUMBER_BYTES_MAX, count;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    count = NUMBER_BYTES_MAX - first;
    memcpy(out, digits + first, (size_t)count);
    return count;
}

#endif
