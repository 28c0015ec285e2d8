/* How the listener, which is a module of its own, gives frames to the lane: a function, and the lane to call it with. */
#ifndef ENGINE_FRAME_TAKER_H
#define ENGINE_FRAME_TAKER_H

#include <Python.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_TAKER "engine.native.frame_taker" /* the capsule's name */

typedef struct {
    /* 1: taken. 0: not the lane's, see Lane. -1: an exception is set. `received_at_object` is the same number. */
    int (*take)(void *lane, const char *frame, size_t size, int64_t received_at, PyObject *received_at_object);
    void *lane;
} FrameTaker;

#endif
