/* A plain order against the numbers of its pair: what `QuickCheck` compares, in integers that cannot overflow here.
 *
 * Amounts are below 2**62 (PLAIN_MAX); what has more is left to the portable code. Products then have 124 bits, and sums
 * of four amounts 64, so that 128 bits hold everything. Bounds of more than 126 bits hold nothing back. */
#ifndef ENGINE_PLAIN_CHECK_H
#define ENGINE_PLAIN_CHECK_H

#include <stdint.h>

typedef __int128 int128;

#define PLAIN_MAX ((int64_t)1 << 62)
#define REACH_UNIT 100000 /* the collar counts thousandths of a per cent */

typedef struct { /* of the pair, and of the limits in its ticks and lots */
    int64_t qty_min, qty_step, price_step, qty_max, orders_max, position_max, reach_up, reach_down;
    int128 cost_min, notional_max, position_notional_max;
} PlainBounds;

typedef struct { /* the open orders of the pair, what is held, the book; no price is 0 */
    int64_t order_count, buy_lots, sell_lots, held_min, held_max, nearest_sell, nearest_buy, best_bid, best_ask;
} PlainMarket;

static inline int128 wide_of(uint64_t high, uint64_t low) { return (int128)((unsigned __int128)high << 64 | low); }

/* Has a rate counter's level come down to `level_max`, at so much a nanosecond? */
static inline int has_decayed(int64_t level, int64_t for_ns, int64_t decay, int64_t level_max) {
    return for_ns > 0 && level - (int128)for_ns * decay <= level_max && level_max >= 0;
}

/* Does an order of `lots` at `ticks` break neither its pair's rules nor a limit? Prices of an own order or of the book
 * that are not there: `nearest_sell` is PLAIN_MAX then, the others are 0. */
static inline int is_plainly_within(
    const PlainBounds *bounds, const PlainMarket *market, int is_sell, int64_t ticks, int64_t lots) {
    int128 notional, worst;
    if (ticks <= 0 || lots <= 0 || ticks >= PLAIN_MAX || lots >= PLAIN_MAX) return 0;
    notional = (int128)ticks * lots;
    if (market->order_count >= bounds->orders_max || lots < bounds->qty_min || lots % bounds->qty_step ||
        ticks % bounds->price_step || lots > bounds->qty_max || notional < bounds->cost_min ||
        notional > bounds->notional_max)
        return 0;
    if (is_sell) {
        worst = (int128)market->sell_lots + lots - market->held_min;
        if (market->best_bid <= 0 || (int128)ticks * REACH_UNIT < (int128)market->best_bid * bounds->reach_down ||
            ticks <= market->nearest_buy)
            return 0;
    } else {
        worst = (int128)market->buy_lots + lots + market->held_max;
        if (market->best_ask <= 0 || (int128)ticks * REACH_UNIT > (int128)market->best_ask * bounds->reach_up ||
            ticks >= market->nearest_sell)
            return 0;
    }
    return worst <= bounds->position_max && worst * ticks <= bounds->position_notional_max;
}

#endif
