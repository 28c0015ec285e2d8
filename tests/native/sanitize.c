/* The C of the extension under AddressSanitizer and UndefinedBehaviorSanitizer: `tools/sanitize` builds and runs it.
 *
 *   sanitize FILE…   every line of the files is a frame, as it is and mutated, in a buffer that ends where it ends
 *
 * What is right is the tests' in Python; this is about memory, overflow and shifts, and a few plain truths. */
#include <stdio.h>
#include <stdlib.h>

#include "book_side.h"
#include "book_update.h"
#include "crc32.h"
#include "execution_rows.h"
#include "order_text.h"
#include "plain_check.h"
#include "shared_words.h"

#define MUTATIONS 60 /* of each frame */
#define LINE_MAX_BYTES (1 << 20)
#define DEPTH 25

static uint64_t chance_state = 0x9E3779B97F4A7C15u;

static uint64_t chance(uint64_t below) {
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return chance_state % below;
}

static void require(int truth, const char *what) {
    if (!truth) {
        fprintf(stderr, "sanitize: %s\n", what);
        exit(1);
    }
}

static BookSide sides[2];
static long accepted, refused, executions;

static void check_side(const BookSide *side) {
    require(side->count <= side->depth, "more levels than the depth");
    for (int32_t k = 1; k < side->count; k++) {
        int64_t before = side->units[2 * k - 2], here = side->units[2 * k];
        require(side->is_descending ? before > here : before < here, "levels out of order");
    }
    for (int32_t k = 0; k < side->count; k++) require(side->units[2 * k + 1] != 0, "a level of nothing");
}

static void apply(BookSide *side, const UpdateLevel *levels, int32_t count) {
    int32_t changed_from = UNCHANGED;
    require(side_reserve(side, count), "no memory");
    for (int32_t k = 0; k < count; k++)
        changed_from = side_apply(side, levels[k].price.number, levels[k].qty.number, changed_from);
    side_settle(side, changed_from);
    (void)crc32_of(0, side->text, (size_t)side->text_size);
    check_side(side);
}

/* Rows of executions, into records whose room is sometimes too small, each in a buffer that ends where it ends. */
static void take_rows(const char *frame, size_t size) {
    size_t room = chance(4) ? 2040 : 4 + chance(700), sizes[ROWS_MAX];
    char *records = malloc(ROWS_MAX * room);
    int64_t sequence;
    require(records != NULL, "no memory");
    int rows = rows_scan(frame, size, 1 + (int64_t)chance(INT64_MAX), records, room, sizes, &sequence);
    for (int k = 0; k < rows; k++) require(sizes[k] <= room, "a record is too long");
    executions += rows;
    free(records);
}

static void take(const char *frame, size_t size) {
    BookUpdate update;
    char *exact = malloc(size ? size : 1);
    require(exact != NULL, "no memory");
    memcpy(exact, frame, size);
    take_rows(exact, size);
    if (update_scan(exact, size, &update)) {
        accepted++;
        if (update_to_pair(&update, (uint32_t)chance(19), (uint32_t)chance(19))) {
            apply(&sides[0], update.levels, update.bid_count);
            apply(&sides[1], update.levels + update.bid_count, update.ask_count);
        }
    } else {
        refused++;
    }
    free(exact);
}

static void mutate(const char *frame, size_t size) {
    static const char bytes[] = "0123456789.,:-+eE\"\\{}[] TZ\0\x7f\x80\xff";
    static char changed[LINE_MAX_BYTES + 64];
    for (int k = 0; k < MUTATIONS; k++) {
        size_t length = size;
        memcpy(changed, frame, size);
        switch (chance(4)) {
        case 0: length = chance(size + 1); break; /* cut off */
        case 1: changed[chance(size)] = bytes[chance(sizeof bytes)]; break;
        case 2: { /* a byte more */
            size_t at = chance(size);
            memmove(changed + at + 1, changed + at, size - at);
            changed[at] = bytes[chance(sizeof bytes)];
            length = size + 1;
            break;
        }
        default: { /* some bytes less */
            size_t at = chance(size), gone = 1 + chance(size - at < 9 ? size - at : 9);
            memmove(changed + at, changed + at + gone, size - at - gone);
            length = size - gone;
        }
        }
        take(changed, length);
    }
}

static void take_file(const char *path) {
    static char line[LINE_MAX_BYTES];
    FILE *file = fopen(path, "rb");
    require(file != NULL, path);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t size = strcspn(line, "\r\n");
        if (size == 0) continue;
        take(line, size);
        if (strstr(line, "\"update\"") != NULL) mutate(line, size);
    }
    fclose(file);
}

/* Any levels, in any order, of any size that a side may be given. */
static void fill_sides(void) {
    static const int64_t large[] = {1, 9, 10, INT64_MAX - 1, INT64_MAX, INT64_MAX / 10, 999999999999999999};
    for (int round = 0; round < 20000; round++) {
        BookSide *side = &sides[chance(2)];
        UpdateLevel levels[60];
        int32_t count = (int32_t)chance(60);
        for (int32_t k = 0; k < count; k++) {
            levels[k].price.number = chance(30) ? (int64_t)chance(80) : large[chance(7)];
            levels[k].qty.number = chance(3) ? (int64_t)chance(5) : large[chance(7)];
        }
        apply(side, levels, count);
    }
    for (int k = 0; k < 2; k++) { /* a message of many levels, whose room is given back */
        static UpdateLevel many[5000];
        for (int32_t n = 0; n < 5000; n++) many[n] = (UpdateLevel){{n, 0}, {1, 0}};
        apply(&sides[k], many, 5000);
        require(sides[k].capacity <= 4 * (DEPTH + SPARE_LEVELS), "room was kept");
    }
}

/* Numbers of an order, in buffers that end where they end. */
static void write_orders(void) {
    static const int64_t edges[] = {0, 1, 9, 10, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, INT64_MAX};
    for (int round = 0; round < 200000; round++) {
        int64_t units = chance(2) ? edges[chance(13)] : (int64_t)(chance(UINT64_MAX) >> (1 + chance(62)));
        uint32_t decimals = (uint32_t)chance(chance(4) ? 19 : ORDER_DECIMALS_MAX + 1);
        char *text = malloc(UNITS_BYTES_MAX), *packed = malloc(PACKED_INT_BYTES_MAX);
        int size = put_units(text, units, decimals), packed_size = put_packed_int(packed, units);
        char *exact = malloc((size_t)size);
        require(size <= UNITS_BYTES_MAX && packed_size <= PACKED_INT_BYTES_MAX, "a number is too long");
        memcpy(exact, text, (size_t)size);
        if (decimals > 0 && decimals < 18 && units > 0 && units < 100000000000000000)
            require(units_in(exact, (size_t)size, decimals) == units, "an amount is not what was written");
        else
            (void)units_in(exact, (size_t)size, decimals);
        exact[chance((uint64_t)size)] = (char)chance(256);
        (void)units_in(exact, chance((uint64_t)size + 1), (uint32_t)chance(256));
        free(exact);
        free(packed);
        free(text);
    }
}

static int64_t any_amount(void) {
    int64_t amount = (int64_t)(chance(UINT64_MAX) >> (2 + chance(62)));
    return chance(3) ? amount : chance(2) ? PLAIN_MAX - 1 : -amount;
}

/* No numbers that the checks may be given overflow. */
static void check_orders(void) {
    long allowed = 0;
    for (int round = 0; round < 500000; round++) {
        PlainBounds bounds = {any_amount(), 1 + (int64_t)chance(9), 1 + (int64_t)chance(9), any_amount(), any_amount(),
                              any_amount(), any_amount(), any_amount(), any_amount(), wide_of(chance(1u << 30), 1),
                              wide_of(chance((uint64_t)1 << 61), 1)};
        PlainMarket market = {any_amount(), any_amount(), any_amount(), any_amount(), any_amount(),
                              any_amount(), any_amount(), any_amount(), any_amount()};
        allowed += is_plainly_within(&bounds, &market, (int)chance(2), any_amount(), any_amount());
        (void)has_decayed(any_amount(), any_amount(), any_amount(), any_amount());
    }
    require(allowed > 0, "no order is allowed");
}

static void sum_up(void) {
    for (size_t size = 0; size < 700; size++) {
        char *text = malloc(size ? size : 1);
        require(text != NULL, "no memory");
        for (size_t k = 0; k < size; k++) text[k] = (char)chance(256);
        uint32_t folded = crc32_of(7, text, size);
        int folds = crc32_folds;
        crc32_folds = 0;
        require(crc32_of(7, text, size) == folded, "the checksum depends on how it is computed");
        crc32_folds = folds;
        free(text);
    }
    require(crc32_of(0, "123456789", 9) == 0xCBF43926u, "the checksum is not CRC-32");
}

static void store_slots(void) {
    for (size_t size = 0; size <= 16; size++) {
        uint64_t *slot = malloc(24);
        require(slot != NULL, "no memory");
        memset(slot, 0xff, 24);
        store_stamped(slot, 5, "0123456789abcdef", size, 16);
        require(load_acquire(slot) == 5 && memcmp(slot + 1, "0123456789abcdef", size) == 0, "a slot holds something else");
        end_stores((int64_t)chance(6), 0);
        store_stamped(slot, 6, "fedcba9876543210", size, 16);
        end_stores(-1, 0);
        free(slot);
    }
    fence_full();
    fence_acquire();
    (void)load_relaxed(&chance_state);
}

int main(int count, char **paths) {
    crc32_init();
    side_init(&sides[0], DEPTH, 1);
    side_init(&sides[1], DEPTH, 0);
    sum_up();
    store_slots();
    for (int k = 1; k < count; k++) take_file(paths[k]);
    fill_sides();
    write_orders();
    check_orders();
    side_clear(&sides[0]);
    side_free(&sides[0]);
    side_free(&sides[1]);
    require(count == 1 || (accepted > 1000 && refused > 1000), "the frames were not worth the run");
    require(count == 1 || executions > 30, "no rows of executions were worth the run");
    printf("sanitize: %ld frames and %ld rows of executions accepted, %ld refused, nothing found\n", accepted, executions,
           refused);
    return 0;
}
