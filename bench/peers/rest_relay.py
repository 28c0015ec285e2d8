"""Stands between a venue's REST and its client, and notes when each order arrived.

    python bench/peers/rest_relay.py REST_URL OUT

Prints one line of JSON with the address to use instead. On SIGTERM it writes to OUT the
times, in CLOCK_MONOTONIC, of the AddOrder requests in the order of their coming.
"""

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

ORDER = b"/0/private/AddOrder "
READ_BYTES = 1 << 16


async def main(rest: str, out: Path) -> None:
    """Relay until SIGTERM."""
    venue = urlsplit(rest)
    orders: list[int] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_asking: bool) -> None:
        with suppress(ConnectionError):
            while part := await source.read(READ_BYTES):
                if is_asking:
                    orders.extend([time.monotonic_ns()] * part.count(ORDER))
                sink.write(part)
        sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        venue_reader, venue_writer = await asyncio.open_connection(venue.hostname, venue.port)
        await asyncio.gather(pump(reader, venue_writer, True), pump(venue_reader, writer, False))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print(json.dumps({"rest": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await stopped.wait()
    out.write_text(json.dumps(orders))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
