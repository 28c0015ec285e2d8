"""What a process tells about itself: counters and latency histograms in shared memory, read
without disturbing it.
"""

from engine.telemetry.counters import CounterGroup, Counters, counters_bytes, format_counters, new_counters
from engine.telemetry.heartbeat import Heartbeat
from engine.telemetry.histogram import Histogram, HistogramSnapshot, merged_percentile, merged_snapshot, new_histogram

__all__ = [
    "CounterGroup",
    "Counters",
    "Heartbeat",
    "Histogram",
    "HistogramSnapshot",
    "counters_bytes",
    "format_counters",
    "merged_percentile",
    "merged_snapshot",
    "new_counters",
    "new_histogram",
]
