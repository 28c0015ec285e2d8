"""A server that sends a capture's book frames as fast as its clients read them: `python bench/socket_sender.py ROUNDS`.

Its frames are made before the first client comes, so what it costs is the kernel's. Each client gets the capture
ROUNDS times, and then nothing.
"""

import base64
import hashlib
import json
import socket
import struct
import sys
from contextlib import suppress

from rig import CAPTURE_DEPTH_10, book_frames

WRITE_BYTES = 1 << 16


def as_frame(payload: bytes) -> bytes:
    """A text frame of a server (RFC 6455 §5.2)."""
    if len(payload) < 126:
        return bytes([0x81, len(payload)]) + payload
    return b"\x81\x7e" + struct.pack(">H", len(payload)) + payload


def serve(client: socket.socket, stream: bytes, rounds: int) -> None:
    """Grant the upgrade, send, and wait until the client leaves."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += client.recv(4096)
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    for _ in range(rounds):
        for start in range(0, len(stream), WRITE_BYTES):
            client.sendall(stream[start : start + WRITE_BYTES])
    while client.recv(4096):
        pass


def main(rounds: int) -> None:
    """Serve one client after the other until killed."""
    stream = b"".join(as_frame(frame) for frame in book_frames(CAPTURE_DEPTH_10))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(json.dumps({"url": f"ws://127.0.0.1:{listening.getsockname()[1]}/v2"}), flush=True)
        while True:
            client, _ = listening.accept()
            with client, suppress(ConnectionError):
                serve(client, stream, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]))
