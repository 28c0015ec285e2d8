/* One side of a book on a flat array: price in ticks, quantity in lots, price, quantity, … best first.
 *
 * The checksum's text of the ten best levels is kept level by level ("tokens") and joined only when a change
 * touched the top. The same rules as engine/market/book.py, which is the oracle of this one. Numbers are from 0 to
 * 2**63 - 1; whoever has others does not come here. */
#ifndef ENGINE_BOOK_SIDE_H
#define ENGINE_BOOK_SIDE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "digits.h"

#ifndef SIDE_REALLOC
#include <stdlib.h>
#define SIDE_REALLOC realloc
#define SIDE_FREE free
#endif

#define CHECKSUM_LEVELS 10
#define TOKEN_BYTES 38   /* two numbers of 63 bits: 19 digits each */
#define LOOKED_THROUGH 8 /* levels that are compared one by one before halves are taken: most changes are there */
#define SPARE_LEVELS 64  /* room that a side keeps beyond its depth; what one message needs above that is given back */
#define UNCHANGED INT32_MAX

typedef struct {
    char text[TOKEN_BYTES];
    uint8_t size;
} Token;

typedef struct {
    int64_t *units;
    int32_t count, capacity, depth;
    int32_t is_descending;
    int32_t token_count; /* of the levels from the best on, that have their token */
    int32_t text_size;
    Token tokens[CHECKSUM_LEVELS];
    char text[(CHECKSUM_LEVELS + 1) * TOKEN_BYTES]; /* the joint writes whole tokens: room for one more */
} BookSide;

static inline void token_make(Token *token, int64_t ticks, int64_t lots) {
    int size = put_number(token->text, (uint64_t)ticks);
    token->size = (uint8_t)(size + put_number(token->text + size, (uint64_t)lots));
}

static inline void side_init(BookSide *side, int32_t depth, int is_descending) {
    memset(side, 0, sizeof *side);
    side->depth = depth;
    side->is_descending = is_descending;
}

static inline void side_clear(BookSide *side) { side->count = side->token_count = side->text_size = 0; }

static inline void side_free(BookSide *side) {
    SIDE_FREE(side->units);
    side->units = NULL;
    side->count = side->capacity = 0;
}

/* Room for so many more levels; 0 when there is no memory, and then nothing has changed. */
static inline int side_reserve(BookSide *side, int32_t more) {
    if (more <= side->capacity - side->count) return 1;
    if (more > INT32_MAX / 2 - side->count) return 0;
    int32_t capacity = side->count + more + 4;
    int64_t *units = (int64_t *)SIDE_REALLOC(side->units, (size_t)capacity * 2 * sizeof(int64_t));
    if (units == NULL) return 0;
    side->units = units;
    side->capacity = capacity;
    return 1;
}

/* Set a level, or delete it (lots 0), in memory that was reserved. The least index changed so far comes and goes. */
static inline int32_t side_apply(BookSide *side, int64_t ticks, int64_t lots, int32_t changed_from) {
    int64_t *units = side->units;
    int32_t low = 0, high = side->count, near = high < LOOKED_THROUGH ? high : LOOKED_THROUGH;
    if (side->is_descending) {
        while (low < near && units[2 * low] > ticks) low++;
        if (low == LOOKED_THROUGH)
            while (low < high) {
                int32_t middle = low + (high - low) / 2;
                if (units[2 * middle] > ticks) low = middle + 1;
                else high = middle;
            }
    } else {
        while (low < near && units[2 * low] < ticks) low++;
        if (low == LOOKED_THROUGH)
            while (low < high) {
                int32_t middle = low + (high - low) / 2;
                if (units[2 * middle] < ticks) low = middle + 1;
                else high = middle;
            }
    }
    if (low < side->count && units[2 * low] == ticks) {
        if (lots) {
            units[2 * low + 1] = lots;
            if (low < side->token_count) token_make(&side->tokens[low], ticks, lots);
        } else {
            side->count--;
            memmove(units + 2 * low, units + 2 * low + 2, (size_t)(side->count - low) * 2 * sizeof(int64_t));
            if (low < side->token_count) {
                side->token_count--;
                memmove(&side->tokens[low], &side->tokens[low + 1], (size_t)(side->token_count - low) * sizeof(Token));
            }
        }
    } else if (lots) {
        memmove(units + 2 * low + 2, units + 2 * low, (size_t)(side->count - low) * 2 * sizeof(int64_t));
        units[2 * low] = ticks;
        units[2 * low + 1] = lots;
        side->count++;
        if (low <= side->token_count && low < CHECKSUM_LEVELS) {
            if (side->token_count == CHECKSUM_LEVELS) side->token_count--;
            memmove(&side->tokens[low + 1], &side->tokens[low], (size_t)(side->token_count - low) * sizeof(Token));
            token_make(&side->tokens[low], ticks, lots);
            side->token_count++;
        }
    } else {
        return changed_from; /* a delete of a level that fell out of the depth, or never was */
    }
    return low < changed_from ? low : changed_from;
}

/* After the last level of a message: drop what lies beyond the depth, and bring the top's text up to date. Did the
 * text change, perhaps? */
static inline int side_settle(BookSide *side, int32_t changed_from) {
    int32_t size = 0;
    if (side->count > side->depth) side->count = side->depth;
    if (side->token_count > side->count) side->token_count = side->count;
    if ((int64_t)side->capacity > 4LL * ((int64_t)side->depth + SPARE_LEVELS)) {
        int32_t capacity = side->depth + SPARE_LEVELS;
        int64_t *units = (int64_t *)SIDE_REALLOC(side->units, (size_t)capacity * 2 * sizeof(int64_t));
        if (units != NULL) {
            side->units = units;
            side->capacity = capacity;
        }
    }
    if (changed_from >= CHECKSUM_LEVELS) return 0;
    while (side->token_count < CHECKSUM_LEVELS && side->token_count < side->count) {
        int32_t k = side->token_count++;
        token_make(&side->tokens[k], side->units[2 * k], side->units[2 * k + 1]);
    }
    for (int32_t k = 0; k < side->token_count; k++) {
        memcpy(side->text + size, side->tokens[k].text, TOKEN_BYTES); /* always whole, which is a few stores: the next overwrites the excess */
        size += side->tokens[k].size;
    }
    side->text_size = size;
    return 1;
}

#endif
