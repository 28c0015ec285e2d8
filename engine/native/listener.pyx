# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The listener of a connection whose frames the lane may take where they lie, in the socket's buffer.

picows calls it through its C interface, so a frame that the lane takes costs no Python call. Every other frame goes the
way of engine/net/link.py, whose class is the other base of the one that is used: see `CompiledLink` there.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t

from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

cdef extern from *:
    """
    #ifndef ENGINE_SOURCE_HASH
    #define ENGINE_SOURCE_HASH ""
    #endif
    #ifndef ENGINE_PICOWS_VERSION
    #define ENGINE_PICOWS_VERSION ""
    #endif
    """
    const char* ENGINE_SOURCE_HASH
    const char* ENGINE_PICOWS_VERSION

cdef extern from "frame_taker.h":
    const char* FRAME_TAKER
    ctypedef struct FrameTaker:
        int (*take)(void* lane, const char* frame, size_t size, int64_t received_at) except -1
        int (*settle)(void* lane) except -1
        void* lane

SOURCE_HASH = ENGINE_SOURCE_HASH.decode("ascii")
PICOWS_VERSION = ENGINE_PICOWS_VERSION.decode("ascii")


cdef class Listener(WSListener):
    """Takes frames for the lane. `live` and `_received_at` are those of Link: it reads and writes them here."""

    cdef public bint live
    cdef public object _received_at
    cdef FrameTaker* taker
    cdef object lane, capsule, traffic, take_general, end_burst, fail, mono_ns
    # Taken since the traffic's counters were brought up to date, and the number at which the burst ends.
    cdef int64_t frames, payload_bytes, frames_max, received_at, burst_frames_max
    # Has a frame been somebody else's since a burst was last ended here?
    cdef bint is_mixed

    def set_lane(self, lane, traffic, take_general, end_burst, fail, mono_ns, burst_frames_max):
        """`take_general` takes what the lane does not, `end_burst` ends a burst of both; both with the transport.

        `fail` is told what the lane raised, and the frame, which is none: the lane's frames raise nothing by themselves.
        """
        self.burst_frames_max, self.is_mixed = burst_frames_max, True
        self.lane, self.capsule, self.traffic = lane, lane.taker(), traffic
        self.take_general, self.end_burst, self.fail, self.mono_ns = take_general, end_burst, fail, mono_ns
        self.taker = <FrameTaker*>PyCapsule_GetPointer(self.capsule, FRAME_TAKER)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if self.taker != NULL and self.live and frame.msg_type == WSMsgType.TEXT and frame.fin:
            try:
                if self._received_at is None:
                    self._received_at = self.mono_ns()
                self.received_at = self._received_at
                if self.taker.take(self.taker.lane, frame.payload_ptr, frame.payload_size, self.received_at):
                    self.taken(transport, frame)
                    return
            except Exception as error:
                self.count()
                self.fail(error, b"")
                return
        self.count()
        self.is_mixed = True
        self.take_general(transport, frame)

    cdef int taken(self, WSTransport transport, WSFrame frame) except -1:
        if self.frames == 0:
            self.frames_max = self._burst_end_at - self.traffic.frames_received
        self.frames += 1
        self.payload_bytes += frame.payload_size
        if frame.last_in_buffer:
            self._received_at = None
        elif self.frames < self.frames_max:
            return 0
        self.count()
        # A burst that the lane took whole asks for nothing: there is no request to send, and no event.
        if self.is_mixed or not self.taker.settle(self.taker.lane):
            self.is_mixed = False
            self.end_burst(transport)
        else:
            self._burst_end_at = self.traffic.frames_received + self.burst_frames_max
        return 0

    cdef int count(self) except -1:
        """Bring the connection's counters up to date."""
        if self.frames:
            self.traffic.frames_received += self.frames
            self.traffic.bytes_received += self.payload_bytes
            self.frames = self.payload_bytes = 0
        return 0
