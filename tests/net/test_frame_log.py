"""Raw frames in the log: both ways, without secrets, and no more than can be read."""

from structlog.testing import capture_logs

from engine.clock import ManualClock
from engine.net.frame_log import LINES_PER_S_MAX, FrameLog
from engine.units import NS_PER_S
from tests.net.rig import Peer, Rig, Server, text


def test_frames_of_both_ways_are_written(run):
    """What the session made of them is the same, and a lane takes none of them unseen."""

    async def answers(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(b'{"channel":"status"}'))
        await peer.left()

    async def scenario():
        clock = ManualClock(NS_PER_S)
        async with Server(answers) as server:
            with capture_logs() as logs:
                async with Rig(server.url, frame_log=FrameLog(server.url, clock)) as rig:
                    await rig.until(lambda: rig.session.of("frame"))
                    assert rig.connection.send(b'{"method":"subscribe","params":{"token":"WW91ciBhdXRo"}}')
        frames = [(line["event"], line["frame"]) for line in logs if "frame" in line]
        assert frames == [
            ("frame received", '{"channel":"status"}'),
            ("frame sent", '{"method":"subscribe","params":{"token":"[redacted]"}}'),
        ]

    run(scenario())


def test_what_is_beyond_the_rate_is_counted():
    """In the line that follows it."""
    clock = ManualClock(NS_PER_S)
    with capture_logs() as logs:
        frame_log = FrameLog("ws://here", clock)
        for _ in range(LINES_PER_S_MAX + 7):
            frame_log.received(b"x")
        clock.advance(NS_PER_S)
        frame_log.sent(b"y")

    assert len(logs) == LINES_PER_S_MAX + 1
    assert (logs[-1]["event"], logs[-1]["left_out"]) == ("frame sent", 7)
