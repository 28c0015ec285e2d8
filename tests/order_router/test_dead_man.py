"""The dead man's switch is refreshed in time, and asks gently when it is refused: a clock by hand."""

from collections.abc import Callable

import pytest

from engine.kraken.connection.error_catalog import meaning
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.order_router.core.dead_man import DeadMan
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.refusal import ErrorKind
from engine.units import NS_PER_MS, NS_PER_S
from tests.clocks import ShellClock
from tests.order_router.rig import Socket

TIMEOUT_S, REFRESH_S = 60, 20


class Rig:
    """A switch whose refreshes go by REST, as long as the WebSocket has no token."""

    def __init__(self) -> None:
        self.clock = ShellClock(mono_ns=10**12)
        self.session = TradingSession(TradingSettings())
        self.socket = Socket(self.session)
        route = WebSocketRoute(self.session, self.socket, self.clock.now)
        # When REST was asked, and what it answers.
        self.asked_at: list[float] = []
        self.timeouts_s: list[int] = []
        self.error = ""
        self.given_up = 0
        self.dead_man = DeadMan(TIMEOUT_S, REFRESH_S * NS_PER_S, route, self._arm, self.clock.now, lambda: 1.0)

    def _arm(self, timeout_s: int) -> None:
        self.asked_at.append(self.clock.mono_ns() / NS_PER_S)
        self.timeouts_s.append(timeout_s)
        if self.error:
            self.dead_man.answered(False, self.error, meaning(self.error).kind, is_off=not timeout_s)
        else:
            self.dead_man.answered(True, "", is_off=not timeout_s)

    def connect(self) -> None:
        """The WebSocket is up and has a token."""
        self.session.opened(self.clock.mono_ns())
        self.session.authorise("token", self.clock.mono_ns())

    @property
    def websocket_refreshes(self) -> int:
        """How many were sent on the WebSocket."""
        return sum(b"cancel_all_orders_after" in request for request in self.socket.sent)

    def give_up(self) -> None:
        """A refresh on the WebSocket is never answered."""
        if self.websocket_refreshes > self.given_up:
            self.given_up = self.websocket_refreshes
            self.dead_man.answered(False, "no answer came in time", ErrorKind.TRANSPORT)

    def run(self, seconds: float, each: Callable[[], None] = lambda: None, *, rests: bool = False) -> None:
        """As the router's timer does."""
        for _ in range(int(seconds * 50)):
            self.dead_man.refresh(self.clock.mono_ns(), rests=rests)
            each()
            self.clock.advance(20 * NS_PER_MS)


def test_a_refresh_that_succeeds_is_made_every_twenty_seconds() -> None:
    """By REST while there is nothing else."""
    rig = Rig()
    rig.run(100)

    assert [later - earlier for earlier, later in zip(rig.asked_at, rig.asked_at[1:], strict=False)] == [
        pytest.approx(REFRESH_S, abs=0.1)
    ] * (len(rig.asked_at) - 1)


def test_rest_that_is_at_its_limit_is_asked_less_and_less() -> None:
    """25 calls in 25 seconds only prolonged the limit; and never later than usual, for the switch would fire."""
    rig = Rig()
    rig.error = "EAPI:Rate limit exceeded"
    rig.run(25)
    assert len(rig.asked_at) <= 5
    rig.run(8 * 3600 - 25)

    pauses = [later - earlier for earlier, later in zip(rig.asked_at, rig.asked_at[1:], strict=False)]
    assert [round(pause) for pause in pauses[:4]] == [2, 4, 8, 16]
    assert max(pauses) <= REFRESH_S + 0.1


@pytest.mark.parametrize(("error", "count_max"), [("EService:Unavailable", 6), ("EAPI:Invalid key", 1),
                                                  ("EGeneral:Permission denied", 1)])  # fmt: skip
def test_other_refusals_are_followed_by_what_they_mean(error: str, count_max: int) -> None:
    """Trouble passes; a wrong key does not, until a person resumes."""
    rig = Rig()
    rig.error = error
    rig.run(30)
    assert len(rig.asked_at) <= count_max
    rig.error = ""
    rig.dead_man.refresh_anew()
    rig.run(1)

    assert rig.dead_man.is_armed


def test_lost_links_do_not_shorten_the_pauses() -> None:
    """Each lost link asks for a refresh, and while REST refuses none comes sooner for it."""
    rig = Rig()
    rig.error = "EAPI:Rate limit exceeded"
    rig.run(60, rig.dead_man.refresh_soon)

    assert len(rig.asked_at) <= 7


def test_a_websocket_that_is_there_again_is_used_at_once() -> None:
    """What REST has refused is none of its business."""
    rig = Rig()
    rig.error = "EGeneral:Permission denied"
    rig.run(5)
    rig.connect()
    rig.run(0.1)

    assert any(b"cancel_all_orders_after" in request for request in rig.socket.sent)


def test_a_refresh_without_an_answer_is_not_repeated_at_once() -> None:
    """A frozen Kraken is not asked in a loop."""
    rig = Rig()
    rig.connect()
    rig.error = "EService:Unavailable"
    rig.run(60, rig.give_up)

    assert 4 <= len(rig.socket.sent) + len(rig.asked_at) <= 8


def test_a_refresh_without_an_answer_goes_by_the_other_route_next() -> None:
    """The connection may carry no requests, which takes some seconds to be seen: the switch
    is set by REST before it can fire. To set it twice is harmless.
    """
    rig = Rig()
    rig.connect()
    rig.run(2, rig.give_up)

    assert len(rig.asked_at) == 1
    assert rig.dead_man.is_armed


def test_after_a_refresh_by_rest_the_websocket_is_asked_again() -> None:
    """REST is the second route: whether it succeeds there, or fails."""
    rig = Rig()
    rig.connect()
    rig.run(REFRESH_S + 2, rig.give_up)
    after_success = rig.websocket_refreshes
    rig.error = "EService:Unavailable"
    rig.run(REFRESH_S + 10, rig.give_up)

    assert after_success == 2
    assert rig.websocket_refreshes >= 4


def test_a_switch_that_is_to_be_off_is_set_so_until_kraken_confirms_it() -> None:
    """Orders that were kept, and stops, would be canceled a minute after the engine's end."""
    rig = Rig()
    rig.run(1)
    rig.error = "EService:Unavailable"
    rig.dead_man.disarm()
    rig.run(3)
    assert rig.timeouts_s[:2] == [TIMEOUT_S, 0]
    assert len(rig.timeouts_s) > 2
    assert not rig.dead_man.is_off

    rig.error = ""
    rig.run(10)
    assert rig.dead_man.is_off
    asked = len(rig.timeouts_s)
    assert set(rig.timeouts_s[1:]) == {0}
    rig.run(60)
    assert len(rig.timeouts_s) == asked


def test_orders_that_come_and_go_beside_stops_do_not_set_it_again_and_again() -> None:
    """Each would set it on and off: several calls a second, and REST counts them."""
    rig = Rig()
    for _ in range(80):
        rig.run(0.1)
        rig.run(0.3, rests=True)
    assert rig.timeouts_s == [TIMEOUT_S, TIMEOUT_S]

    rig.run(6, rests=True)
    assert rig.timeouts_s[2:] == [0]
    rig.run(0.02)
    assert rig.timeouts_s[2:] == [0, TIMEOUT_S]


def test_it_is_never_set_where_stops_alone_were_found() -> None:
    rig = Rig()
    rig.run(REFRESH_S, rests=True)

    assert rig.timeouts_s == [0]


def test_the_confirmation_of_a_refresh_is_none_of_the_end() -> None:
    """That request was on its way when the switch was set off."""
    rig = Rig()
    rig.connect()
    rig.run(0.02)
    assert rig.websocket_refreshes == 1
    rig.dead_man.disarm()
    assert rig.websocket_refreshes == 2
    rig.dead_man.answered(True, "")
    assert not rig.dead_man.is_off

    rig.dead_man.answered(True, "", is_off=True)
    assert rig.dead_man.is_off


def test_a_switch_that_was_never_set_need_not_be_set_off() -> None:
    rig = Rig()
    rig.dead_man.disarm()
    rig.run(1)

    assert rig.dead_man.is_off
    assert rig.timeouts_s == []
