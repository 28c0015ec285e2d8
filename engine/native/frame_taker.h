/* How the listener, which is a module of its own, gives frames to the lane: functions, and the lane they are for. */
#ifndef ENGINE_FRAME_TAKER_H
#define ENGINE_FRAME_TAKER_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_TAKER "engine.native.frame_taker" /* the capsule's name */

typedef struct {
    /* 1: taken. 0: not the lane's, see Lane. -1: an exception is set. */
    int (*take)(void *lane, const char *frame, size_t size, int64_t received_at);
    /* The end of a burst of which the lane took every frame. 1: settled. 0: there is more to do, in Python. */
    int (*settle)(void *lane);
    void *lane;
} FrameTaker;

#endif
