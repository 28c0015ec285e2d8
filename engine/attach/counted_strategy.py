"""A strategy as the host's counters tell of it, which it writes twenty times a second."""

from engine.processes.callback_words import CallbackWords
from engine.telemetry import Counters
from engine.topology import NOT_FOLLOWED
from engine.units import MonoNs


class CountedStrategy:
    """What is counted of a strategy, by the names of a HostedStrategy (`StrategyView`)."""

    def __init__(self, name: str, counters: Counters) -> None:
        self.name = name
        self._counters = counters
        self._words = CallbackWords(counters, name)

    def _count(self, name: str) -> int:
        return self._counters.get(f"{self.name} {name}")

    @property
    def received(self) -> int:
        return self._count("received")

    @property
    def gaps(self) -> int:
        return self._count("gaps")

    @property
    def laps(self) -> int:
        return self._count("laps")

    @property
    def callbacks(self) -> int:
        return self._count("callbacks")

    @property
    def errors(self) -> int:
        return self._count("errors")

    @property
    def slow(self) -> int:
        return self._count("slow")

    @property
    def slowest_ns(self) -> int:
        return self._count("slowest_ns")

    @property
    def busy_ns(self) -> int:
        return self._count("busy_ns")

    @property
    def busy_share_ppm(self) -> int:
        return self._count("busy_share_ppm")

    @property
    def busy_share_ppm_max(self) -> int:
        return self._count("busy_share_ppm_max")

    @property
    def rests(self) -> int:
        return self._count("rests")

    @property
    def halted(self) -> bool:
        return bool(self._count("halted"))

    @property
    def refused(self) -> int:
        return self._count("refused")

    @property
    def untold(self) -> int:
        return self._count("untold")

    @property
    def mistakes(self) -> int:
        return self._count("mistakes")

    @property
    def calls_refused(self) -> int:
        return self._count("calls_refused")

    @property
    def reports_unreadable(self) -> int:
        return self._count("reports_unreadable")

    def gaps_of(self, ring_name: str) -> int:
        """Records of one ring that it did not get."""
        return self._count(f"{ring_name} gaps")

    def lag_of(self, ring_name: str) -> int | None:
        """Records of one ring that it had not taken at the host's last beat; None for a
        ring that it does not read."""
        lag = self._count(f"{ring_name} lag")
        return None if lag == NOT_FOLLOWED else lag

    def callback(self) -> tuple[MonoNs, str]:
        """When its present callback began, and which; (0, "") outside of one."""
        return self._words.read()
