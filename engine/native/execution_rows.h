/* A scanner of Kraken's updates of executions as they are written today, and of nothing else, which writes each row as
 * the record that crosses the account ring:
 *
 *   {"channel":"executions","type":"update","data":[{"timestamp":"2026-09-10T21:32:35.921979Z","exec_type":"filled",…}],
 *   "sequence":8}
 *
 * It says yes only to a whole frame of this form in which nothing is left to interpretation: keys that it knows, each
 * once in a row, no blanks, no escapes, numbers of plain digits, ids that no gateway prints for none. To everything
 * else it says no, and engine.kraken.private.session has the word. The records are those that engine.private_feed would
 * have made of it, byte for byte: the length, then MessagePack. It never reads beyond the frame's last byte, nor
 * writes beyond the room of a record. */
#ifndef ENGINE_EXECUTION_ROWS_H
#define ENGINE_EXECUTION_ROWS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "book_update.h"
#include "order_text.h"

#define ROWS_MAX 8             /* of one frame; Kraken's have one, a fill of several orders has a few */
#define ROW_TEXT_BYTES_MAX 64  /* engine.kraken.connection.salvage.ShortText; longer ones are the general code's */
#define ROW_ASSET_BYTES_MAX 32 /* AssetName */
#define ROW_FEES_MAX 4         /* engine.kraken.private.messages.FEES_MAX */
#define ROW_NUMBER_BYTES_MAX 30
#define ROW_LENGTH_BYTES 4
#define PLAIN_ZEROS_MAX 6 /* behind "0.", of a number that Python writes without an exponent */

/* The fields of a record, in their order there: those of engine.kraken.private.messages.ExecutionRow. */
typedef enum {
    ROW_EXEC_TYPE, ROW_ORDER_ID, ROW_TIMESTAMP, ROW_RECEIVED_AT, ROW_CL_ORD_ID, ROW_ORDER_USERREF, ROW_SYMBOL, ROW_SIDE,
    ROW_ORDER_TYPE, ROW_ORDER_QTY, ROW_LIMIT_PRICE, ROW_CUM_QTY, ROW_EXEC_ID, ROW_TRADE_ID, ROW_LAST_QTY, ROW_LAST_PRICE,
    ROW_COST, ROW_LIQUIDITY, ROW_FEES, ROW_REASON, ROW_TIME_IN_FORCE, ROW_POST_ONLY, ROW_FEE_PREFERENCE, ROW_ORD_REF_ID,
    ROW_RATE_COUNT, ROW_FIELDS,
    /* Read, and in no record: they say something of another field, or what we have no use for. */
    ROW_CANCEL_REASON = ROW_FIELDS, ROW_LIMIT_PRICE_TYPE, ROW_ORDER_STATUS, ROW_CUM_COST, ROW_AVG_PRICE,
    ROW_FEE_USD_EQUIV, ROW_STOP_PRICE, ROW_AMENDED, ROW_RATECOUNT, ROW_KEYS
} RowField;

typedef enum { ROW_TEXT, ROW_ID, ROW_TIME, ROW_NUMBER, ROW_WHOLE, ROW_TRUTH, ROW_FEE_LIST, ROW_OURS } RowKind;

typedef struct {
    char name[17]; /* "_fee_preference", and room to see that it ends */
    uint8_t size, kind;
} RowKey;

#define ROW_KEY(name, kind) {name, sizeof(name) - 1, kind}

/* What a record calls them. In Kraken's rows the preference is `fee_ccy_pref`; nothing there is `_received_at`. */
static const RowKey row_keys[ROW_KEYS] = {
    ROW_KEY("exec_type", ROW_TEXT), ROW_KEY("order_id", ROW_TEXT), ROW_KEY("timestamp", ROW_TIME),
    ROW_KEY("_received_at", ROW_OURS), ROW_KEY("cl_ord_id", ROW_ID), ROW_KEY("order_userref", ROW_WHOLE),
    ROW_KEY("symbol", ROW_TEXT), ROW_KEY("side", ROW_TEXT), ROW_KEY("order_type", ROW_TEXT),
    ROW_KEY("order_qty", ROW_NUMBER), ROW_KEY("limit_price", ROW_NUMBER), ROW_KEY("cum_qty", ROW_NUMBER),
    ROW_KEY("exec_id", ROW_TEXT), ROW_KEY("trade_id", ROW_WHOLE), ROW_KEY("last_qty", ROW_NUMBER),
    ROW_KEY("last_price", ROW_NUMBER), ROW_KEY("cost", ROW_NUMBER), ROW_KEY("liquidity_ind", ROW_TEXT),
    ROW_KEY("fees", ROW_FEE_LIST), ROW_KEY("reason", ROW_TEXT), ROW_KEY("time_in_force", ROW_TEXT),
    ROW_KEY("post_only", ROW_TRUTH), ROW_KEY("_fee_preference", ROW_TEXT), ROW_KEY("ord_ref_id", ROW_ID),
    ROW_KEY("rate_count", ROW_NUMBER), ROW_KEY("cancel_reason", ROW_TEXT), ROW_KEY("limit_price_type", ROW_TEXT),
    ROW_KEY("order_status", ROW_TEXT), ROW_KEY("cum_cost", ROW_NUMBER), ROW_KEY("avg_price", ROW_NUMBER),
    ROW_KEY("fee_usd_equiv", ROW_NUMBER), ROW_KEY("stop_price", ROW_NUMBER), ROW_KEY("amended", ROW_TRUTH),
    ROW_KEY("ratecount", ROW_NUMBER),
};

static const RowKey row_preference_key = ROW_KEY("fee_ccy_pref", ROW_TEXT);

typedef struct {
    const char *text; /* in the frame; NULL: the row does not have it */
    uint32_t size;
} RowValue;

typedef struct {
    const char *asset, *qty;
    uint32_t asset_size, qty_size;
} RowFee;

typedef struct {
    RowValue values[ROW_KEYS];
    RowFee fees[ROW_FEES_MAX];
    uint32_t fee_count;
    int64_t timestamp, order_userref, trade_id;
} Row;

/* --- reading; each returns what follows, or NULL */

static inline const char *row_text(const char *p, const char *end, RowValue *out, uint32_t bytes_max) {
    if (p == end || *p++ != '"') return NULL;
    out->text = p;
    while (p < end && *p >= ' ' && *p < 0x7f && *p != '"' && *p != '\\') p++;
    out->size = (uint32_t)(p - out->text);
    return p < end && *p == '"' && (size_t)(p - out->text) <= bytes_max ? p + 1 : NULL;
}

static inline const char *row_number(const char *p, const char *end, RowValue *out) {
    out->text = p;
    while (update_is_digit(p, end)) p++;
    if (p == out->text || (*out->text == '0' && p - out->text > 1)) return NULL;
    if (p < end && *p == '.') {
        const char *decimals = ++p;
        while (update_is_digit(p, end)) p++;
        if (p == decimals) return NULL;
    }
    out->size = (uint32_t)(p - out->text);
    return p - out->text <= ROW_NUMBER_BYTES_MAX ? p : NULL;
}

static inline const char *row_whole(const char *p, const char *end, RowValue *out, int64_t *number) {
    UpdateNumber read;
    out->text = p;
    if ((p = update_number(p, end, &read)) == NULL || read.decimals) return NULL;
    if (out->text[p - out->text - 1] == '.') return NULL;
    out->size = (uint32_t)(p - out->text);
    *number = read.number;
    return p;
}

static inline const char *row_truth(const char *p, const char *end, RowValue *out) {
    const char *behind = UPDATE_EXPECT(p, end, "true");
    if (behind == NULL) behind = UPDATE_EXPECT(p, end, "false");
    out->text = p;
    return behind;
}

/* Two digits, less than `below`; -1 without. */
static inline int row_pair(const char *p, int below) {
    int number = (unsigned char)(p[0] - '0') <= 9 && (unsigned char)(p[1] - '0') <= 9 ? (p[0] - '0') * 10 + p[1] - '0' : -1;
    return number < below ? number : -1;
}

/* Nanoseconds since 1970 of "2026-09-10T21:32:35.921979Z", until 2199; 0 for any other text. */
static inline int64_t row_time(const char *text, uint32_t size) {
    static const uint8_t days_of[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century, of_century, month, day, hour, minute, second, year, is_leap;
    int64_t days, fraction = 0;
    if (size < 22 || size > 30 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':'
        || text[16] != ':' || text[19] != '.' || text[size - 1] != 'Z')
        return 0;
    century = row_pair(text, 22), of_century = row_pair(text + 2, 100), month = row_pair(text + 5, 13) - 1;
    day = row_pair(text + 8, 32), hour = row_pair(text + 11, 24), minute = row_pair(text + 14, 60);
    second = row_pair(text + 17, 60), year = century * 100 + of_century;
    if (century < 19 || of_century < 0 || year < 1971 || month < 0 || day < 1 || hour < 0 || minute < 0 || second < 0) return 0;
    is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > days_of[month] + (month == 1 && is_leap)) return 0;
    days = 365 * (year - 1970) + (year - 1969) / 4 - (year - 1901) / 100 + (year - 1601) / 400 + day - 1;
    for (int k = 0; k < month; k++) days += days_of[k] + (k == 1 && is_leap);
    for (uint32_t k = 20; k < 29; k++) {
        int digit = k < size - 1 ? text[k] - '0' : 0;
        if (digit < 0 || digit > 9) return 0;
        fraction = fraction * 10 + digit;
    }
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000000000 + fraction;
}

/* Could this id be what a gateway prints for none, "null" say? See engine.kraken.connection.salvage.is_null. */
static inline int row_may_be_none(const RowValue *value) {
    return value->size < 5 || memchr(value->text, ' ', value->size) != NULL;
}

static inline const char *row_fees(const char *p, const char *end, Row *row) {
    RowValue asset, qty;
    if (p == end || *p++ != '[') return NULL;
    do {
        if (row->fee_count == ROW_FEES_MAX || (p = UPDATE_EXPECT(p, end, "{\"asset\":")) == NULL) return NULL;
        if ((p = row_text(p, end, &asset, ROW_ASSET_BYTES_MAX)) == NULL) return NULL;
        if ((p = UPDATE_EXPECT(p, end, ",\"qty\":")) == NULL || (p = row_number(p, end, &qty)) == NULL) return NULL;
        row->fees[row->fee_count++] = (RowFee){asset.text, qty.text, asset.size, qty.size};
        if (end - p < 2 || *p++ != '}') return NULL;
    } while (*p++ == ',');
    return p[-1] == ']' ? p : NULL;
}

static inline int row_field_of(const char *name, uint32_t size) {
    if (size == row_preference_key.size && memcmp(name, row_preference_key.name, size) == 0) return ROW_FEE_PREFERENCE;
    for (int k = 0; k < ROW_KEYS; k++)
        if (row_keys[k].size == size && memcmp(name, row_keys[k].name, size) == 0) return *name == '_' ? -1 : k;
    return -1;
}

static inline const char *row_value(const char *p, const char *end, Row *row, int field) {
    RowValue *value = &row->values[field];
    switch (row_keys[field].kind) {
    case ROW_TEXT: return row_text(p, end, value, ROW_TEXT_BYTES_MAX);
    case ROW_ID: return (p = row_text(p, end, value, ROW_TEXT_BYTES_MAX)) == NULL || row_may_be_none(value) ? NULL : p;
    case ROW_TIME:
        if ((p = row_text(p, end, value, ROW_TEXT_BYTES_MAX)) == NULL) return NULL;
        return (row->timestamp = row_time(value->text, value->size)) > 0 ? p : NULL;
    case ROW_NUMBER: return row_number(p, end, value);
    case ROW_WHOLE:
        return row_whole(p, end, value, field == ROW_TRADE_ID ? &row->trade_id : &row->order_userref);
    case ROW_TRUTH: return row_truth(p, end, value);
    case ROW_FEE_LIST:
        value->text = p;
        return row_fees(p, end, row);
    default: return NULL;
    }
}

/* One row, from its brace to behind the closing one. */
static inline const char *row_scan(const char *p, const char *end, Row *row) {
    memset(row, 0, sizeof *row);
    if (p == end || *p != '{') return NULL;
    do {
        RowValue name;
        int field;
        if ((p = row_text(p + 1, end, &name, sizeof row_keys[0].name)) == NULL) return NULL;
        if ((field = row_field_of(name.text, name.size)) < 0 || row->values[field].text != NULL) return NULL;
        if (p == end || *p++ != ':' || (p = row_value(p, end, row, field)) == NULL || p == end) return NULL;
    } while (*p == ',');
    if (*p != '}' || row->values[ROW_EXEC_TYPE].text == NULL || row->values[ROW_ORDER_ID].text == NULL
        || row->values[ROW_TIMESTAMP].text == NULL)
        return NULL;
    return p + 1;
}

/* --- writing; each returns what follows, and the caller has made room */

static inline char *row_put_text(char *out, const char *text, uint32_t size) {
    if (size < 32) {
        *out++ = (char)(0xa0 | size);
    } else {
        *out++ = (char)0xd9;
        *out++ = (char)size;
    }
    memcpy(out, text, size);
    return out + size;
}

/* A number as Python's Decimal of its text writes itself: with an exponent when it begins with many zeros. */
static inline char *row_put_number(char *out, const char *text, uint32_t size) {
    char short_text[ROW_NUMBER_BYTES_MAX + 4], *end = short_text;
    uint32_t first = 2;
    if (size <= 2 + PLAIN_ZEROS_MAX || memcmp(text, "0.000000", 2 + PLAIN_ZEROS_MAX) != 0) return row_put_text(out, text, size);
    while (first < size - 1 && text[first] == '0') first++;
    *end++ = text[first]; /* of nothing but zeros the last one */
    if (first + 1 < size) {
        *end++ = '.';
        memcpy(end, text + first + 1, size - first - 1);
        end += size - first - 1;
    }
    *end++ = 'E';
    *end++ = '-';
    end += put_number(end, first - 1);
    return row_put_text(out, short_text, (uint32_t)(end - short_text));
}

static inline int row_has_text(const RowValue *value) { return value->text != NULL && value->size > 0; }

static inline char *row_put_fees(char *out, const Row *row) {
    *out++ = (char)(0x90 | row->fee_count);
    for (uint32_t k = 0; k < row->fee_count; k++) {
        const RowFee *fee = &row->fees[k];
        *out++ = (char)0x92;
        out = row_put_number(row_put_text(out, fee->asset, fee->asset_size), fee->qty, fee->qty_size);
    }
    return out;
}

/* What one field takes at most: its name, and fees, the longest value. */
#define ROW_FIELD_BYTES_MAX (18 + 1 + ROW_FEES_MAX * (1 + 2 + ROW_ASSET_BYTES_MAX + 2 + ROW_NUMBER_BYTES_MAX + 4))

/* The row as a record in `room` bytes; how many it has, 0: the general code has the word. */
static inline size_t row_pack(Row *row, int64_t received_at, char *record, size_t room) {
    RowValue *values = row->values;
    RowValue *kind = &values[ROW_LIMIT_PRICE_TYPE], *preference = &values[ROW_FEE_PREFERENCE];
    char *out = record + ROW_LENGTH_BYTES, *count_at;
    uint32_t count = 1, length;
    if (kind->text != NULL && !(kind->size == 6 && memcmp(kind->text, "static", 6) == 0)) return 0;
    if (received_at <= 0 || room < ROW_FIELD_BYTES_MAX) return 0;
    if (values[ROW_TIME_IN_FORCE].text != NULL && values[ROW_TIME_IN_FORCE].size == 0) return 0;
    /* What is as good as not there. */
    if (row->order_userref == 0) values[ROW_ORDER_USERREF].text = NULL;
    if (!row_has_text(&values[ROW_REASON])) values[ROW_REASON] = values[ROW_CANCEL_REASON];
    if (!row_has_text(&values[ROW_REASON])) values[ROW_REASON].text = NULL;
    if (preference->text != NULL && !(preference->size == 4 && memcmp(preference->text, "fcib", 4) == 0)) preference->text = NULL;
    if (preference->text != NULL) *preference = (RowValue){"base", 4};
    if (values[ROW_RATE_COUNT].text == NULL) values[ROW_RATE_COUNT] = values[ROW_RATECOUNT];
    values[ROW_RECEIVED_AT].text = record; /* it has one */
    count_at = out;
    out += 3; /* a map's head, which msgspec never shortens for a Struct of so many fields */
    out = row_put_text(row_put_text(out, "fact", 4), "x", 1);
    for (int field = 0; field < ROW_FIELDS; field++) {
        const RowValue *value = &values[field];
        if (value->text == NULL) continue;
        if (room - (size_t)(out - record) < ROW_FIELD_BYTES_MAX) return 0;
        count++;
        out = row_put_text(out, row_keys[field].name, row_keys[field].size);
        switch (field) {
        case ROW_TIMESTAMP: out += put_packed_int(out, row->timestamp); break;
        case ROW_RECEIVED_AT: out += put_packed_int(out, received_at); break;
        case ROW_ORDER_USERREF: out += put_packed_int(out, row->order_userref); break;
        case ROW_TRADE_ID: out += put_packed_int(out, row->trade_id); break;
        case ROW_POST_ONLY: *out++ = (char)(*value->text == 't' ? 0xc3 : 0xc2); break;
        case ROW_FEES: out = row_put_fees(out, row); break;
        case ROW_TIME_IN_FORCE: {
            char *lower = row_put_text(out, value->text, value->size);
            for (char *p = lower - value->size; p < lower; p++)
                if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
            out = lower;
            break;
        }
        default:
            out = row_keys[field].kind == ROW_NUMBER ? row_put_number(out, value->text, value->size)
                                                     : row_put_text(out, value->text, value->size);
        }
    }
    put_word(count_at, 0xde, count, 2);
    length = (uint32_t)(out - record - ROW_LENGTH_BYTES);
    for (int k = 0; k < ROW_LENGTH_BYTES; k++) record[k] = (char)(length >> (8 * k));
    return (size_t)(out - record);
}

/* The rows of a whole and plain frame as records, each in a place of `room` bytes: how many; 0 for any other frame. */
static inline int rows_scan(const char *frame, size_t size, int64_t received_at, char *records, size_t room,
                            size_t *sizes, int64_t *sequence) {
    const char *p = frame, *end = frame + size;
    Row row;
    RowValue number;
    int count = 0;
    if ((p = UPDATE_EXPECT(p, end, "{\"channel\":\"executions\",\"type\":\"update\",\"data\":[")) == NULL) return 0;
    do {
        if (count == ROWS_MAX || (p = row_scan(p, end, &row)) == NULL || p == end) return 0;
        if ((sizes[count] = row_pack(&row, received_at, records + (size_t)count * room, room)) == 0) return 0;
        count++;
    } while (*p++ == ',');
    if (p[-1] != ']' || (p = UPDATE_EXPECT(p, end, ",\"sequence\":")) == NULL) return 0;
    if ((p = row_whole(p, end, &number, sequence)) == NULL) return 0;
    return end - p == 1 && *p == '}' ? count : 0;
}

#endif
