"""Engines that trade on a venue in a process of its own, with a relay between them that loses what a test wants lost.

engine ── private WebSocket ──► Relay ──► venue          the venue's ledger is the judge
   └───── public WebSocket, REST ───────────┘
"""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from engine.ledger_check import Ledger, Told, compare, read_state
from engine.orders.tally import Tally
from tests.integration.forked_commands import ForkedProcess
from tests.integration.rig import PATIENCE_S, Diary, Engines, ask_engine, eventually

PUPPET: Final = Path(__file__).parent / "strategies" / "puppet.py"
OVER: Final = ("FILLED", "CANCELED", "EXPIRED", "REJECTED", "REFUSED")
OPEN = ("WORKING", "PARTIAL")
ENDED_THERE: Final = ("filled", "canceled", "expired")
MASKED: Final = 0x80
PROCESSES: Final = {"orders": "order_router", "feed": "private_feed"}  # by the kind of their connection
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset

CONFIG: Final = """
name = "{name}"
symbols = [{symbols}]
[venue]
url = "{public}"
private_url = "{private}"
rest_url = "{rest}"
[trading]
enabled = true
{trading}
[risk]
order_notional_max = 1000000
position_notional_max = 10000000
daily_loss_max = 1000000
orders_per_s_max = 500
duplicate_window_ms = 0
price_collar_percent = 10
{risk}
[engine]
{engine}
[log]
level = "{level}"
format = "json"
"""


class TradingVenue:
    """A venue, its faults, its accounts, and its ledger."""

    def __init__(self, engines: Engines, *options: object, symbols: str = "BTC/USD", seed: int = 11) -> None:
        self.engines = engines
        self.process = engines.spawn(
            "venue", "--port", 0, "--seed", seed, "--symbols", symbols, "--rate", 100, *options, stdout=subprocess.PIPE
        )  # fmt: skip
        assert self.process.stdout is not None
        self.ready: dict[str, str] = json.loads(self.process.stdout.readline())
        self._accounts = 1

    def fault(self, kind: str, method: str = "", count: int = 1) -> None:
        """The next matching requests suffer it."""
        self._post("faults", kind=kind, method=method, count=count)

    def rate(self, kind: str, rate: float) -> None:
        """From now on it strikes with this probability."""
        self._post("faults", kind=kind, rate=rate)

    def relist(self, price_decimals: int, qty_decimals: int, symbol: str = "BTC/USD") -> None:
        """The pair is listed in another precision from now on."""
        self._post("precision", symbol=symbol, price_decimals=price_decimals, qty_decimals=qty_decimals)

    def clear(self) -> None:
        """No faults any more."""
        self._post("faults", clear=True)

    def struck(self, kind: str) -> int:
        """How often it has struck."""
        count: int = self._get("faults")["counts"].get(kind, 0)
        return count

    def key(self, **spec: Any) -> dict[str, Any]:
        """A key of a new, funded account, unless an account is named."""
        self._accounts += 1
        spec.setdefault("account_id", self._accounts)
        return self._post("keys", **spec) | {"account_id": spec["account_id"]}

    def kill_tokens(self) -> None:
        """No token is worth anything any more."""
        self._post("tokens/revoke")

    def ledger(self, account: int) -> Ledger:
        """What the venue really did, for the comparison."""
        with urllib.request.urlopen(f"{self.ready['rest']}/venue/ledger?account={account}", timeout=PATIENCE_S) as body:
            return msgspec.json.decode(body.read(), type=Ledger)

    def orders(self, account: int) -> list[dict[str, Any]]:
        """Every order that it accepted, with all it knows of it."""
        orders: list[dict[str, Any]] = self._get(f"ledger?account={account}")["orders"]
        return orders

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.ready['rest']}/venue/{path}", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def _post(self, path: str, **fields: Any) -> Any:
        request = urllib.request.Request(
            f"{self.ready['rest']}/venue/{path}", json.dumps(fields).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)


class _Line:
    """One connection through the relay."""

    def __init__(self, client: asyncio.StreamWriter, venue: asyncio.StreamWriter) -> None:
        self.client, self.venue = client, venue
        # "feed" once it has asked for executions, "orders" once it has asked for balances alone.
        self.kind = ""
        self.asked = b""
        # All of it.
        self.heard = bytearray()

    def learn(self, data: bytes) -> None:
        """Find out whose it is from what it asks first."""
        self.heard += data
        if self.kind:
            return
        self.asked = (self.asked + data)[:16384]
        for text in _texts_of(self.asked):
            if b'"executions"' in text:
                self.kind = "feed"
            elif b'"balances"' in text and b'"snapshot":false' in text.replace(b" ", b""):
                self.kind = "orders"

    def cut(self) -> None:
        """Reset both ends, as a machine between them would."""
        for writer in (self.client, self.venue):
            sock = writer.get_extra_info("socket")
            with suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Relay:
    """A TCP relay to the venue's private WebSocket, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2].partition("/")[0])
        self._path = url.rpartition("/")[2]
        self._lines: list[_Line] = []
        self._heard: list[bytearray] = []
        # Kinds of connection whose requests, or whose answers, are held up.
        self._held_up: set[str] = set()
        self._held_down: set[str] = set()
        # Set when either changes, and then replaced.
        self._held_changed = asyncio.Event()
        # The kind of connection that is reset whenever it comes; "all", or empty for none.
        self._down = ""
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()
        self._started.wait(PATIENCE_S)

    @property
    def url(self) -> str:
        """What the engine takes for the venue."""
        assert self._server is not None
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{self._path}"

    def carries(self, *kinds: str) -> bool:
        """Is there a connection of each of these kinds, with a token?"""
        return set(kinds) <= {line.kind for line in list(self._lines)}

    def requests(self) -> list[bytes]:
        """Every text that any connection has asked with, as it was on the wire."""
        texts = [text for heard in list(self._heard) for text in _texts_of(bytes(heard))]
        return [text for text in texts if text.startswith(b"{")]  # not a close frame

    def cut(self, kind: str = "") -> None:
        """Reset the connections of a kind, or all."""
        self._do(lambda: [line.cut() for line in list(self._lines) if kind in ("", line.kind)])

    def down(self, kind: str = "") -> None:
        """Reset all, or those of a kind, and every one that comes."""

        def fall() -> None:
            self._down = kind or "all"
            for line in list(self._lines):
                if kind in ("", line.kind):
                    line.cut()

        self._do(fall)

    def up(self) -> None:
        """Let them come again."""

        def rise() -> None:
            self._down = ""

        self._do(rise)

    def hold(self, *, requests: Sequence[str] = (), answers: Sequence[str] = ()) -> None:
        """From now on, hold up what connections of these kinds ask, and what they are told; () lets all pass."""

        def change() -> None:
            self._held_up, self._held_down = set(requests), set(answers)
            self._held_changed.set()
            self._held_changed = asyncio.Event()

        self._do(change)

    def free(self) -> None:
        """Back to normal."""
        self.hold()
        self.up()

    def close(self) -> None:
        """End of the relay; once is enough."""
        if self._loop.is_closed():
            return
        self._do(self.down_for_good)
        self._thread.join(PATIENCE_S)

    def down_for_good(self) -> None:
        for line in list(self._lines):
            line.cut()
        if self._server is not None:
            self._server.close()
        self._loop.call_later(0.05, self._loop.stop)

    def _do(self, what: Callable[[], Any]) -> None:
        done = threading.Event()

        def act() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait(PATIENCE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self._started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                self._loop.run_until_complete(task)
        self._loop.run_until_complete(asyncio.sleep(0))  # what was aborted closes its socket in the next turn
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:  # also when the relay ends before the venue has answered
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down == "all" or (self._down and await asyncio.to_thread(_is_of, writer, self._down)):
            return
        try:
            venue_reader, venue_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return
        line = _Line(writer, venue_writer)
        self._lines.append(line)
        self._heard.append(line.heard)
        pumps = [
            asyncio.ensure_future(self._pump(line, reader, venue_writer, is_up=True)),
            asyncio.ensure_future(self._pump(line, venue_reader, writer, is_up=False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._lines.remove(line)
            line.cut()

    async def _pump(
        self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        """Until either end is gone; what is held up then is lost."""
        chunks: asyncio.Queue[bytes] = asyncio.Queue()

        async def read() -> None:
            with suppress(OSError):
                while data := await reader.read(65536):
                    chunks.put_nowait(data)
            chunks.put_nowait(b"")

        reading = asyncio.ensure_future(read())
        try:
            while data := await chunks.get():
                while line.kind and line.kind in (self._held_up if is_up else self._held_down):
                    if reading.done():
                        return
                    change = asyncio.ensure_future(self._held_changed.wait())
                    await asyncio.wait({reading, change}, return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
                if is_up:
                    line.learn(data)
                    if line.kind and line.kind == self._down:
                        return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            reading.cancel()


def _is_of(writer: asyncio.StreamWriter, kind: str) -> bool:
    """Does this connection come from the process of that kind? Known before it can be told from what it asks."""
    port = writer.get_extra_info("peername")[1]
    for connection in psutil.net_connections(kind="tcp4"):
        if connection.pid and connection.laddr and connection.laddr.port == port:
            with suppress(psutil.NoSuchProcess):
                return PROCESSES[kind] in " ".join(psutil.Process(connection.pid).cmdline())
    return False


def _texts_of(stream: bytes) -> Iterator[bytes]:
    """The text frames at the beginning of what a WebSocket client has sent, unmasked."""
    _, found, rest = stream.partition(b"\r\n\r\n")
    while found and len(rest) >= 2:
        length, at = rest[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(rest[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(rest[2:10], "big"), 10
        mask = rest[at : at + 4] if rest[1] & MASKED else b"\0\0\0\0"
        at += 4 if rest[1] & MASKED else 0
        if len(rest) < at + length:
            return
        yield bytes(byte ^ mask[index % 4] for index, byte in enumerate(rest[at : at + length]))
        rest = rest[at + length :]


class TradingEngine:
    """An engine with puppets for strategies, and what can be asked of it."""

    def __init__(
        self,
        venue: TradingVenue,
        folder: Path,
        *,
        names: Sequence[str] = ("puppet",),
        trading: str = "",
        risk: str = "",
        engine: str = "",
        symbols: str = "BTC/USD",
        key: dict[str, Any] | None = None,
        relay: bool = True,
        params: str = "",
        level: str = "info",
        strategies: str = "",
        key_file: bool = False,
        logs: bool = True,
        shared_directory: bool = False,
        is_new: bool = False,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.venue = venue
        self.folder = folder
        self.key = key or venue.key(tier="pro")
        self.account: int = self.key["account_id"]
        self.relay = Relay(venue.ready["private"]) if relay else None
        folder.mkdir(parents=True, exist_ok=True)
        self.engines = Engines(folder)
        self.names = names
        self.summary_path = folder / "summary.json"
        # One folder for what ends with the engine and for what outlives it, or one for each.
        self._shared = {"XDG_STATE_HOME": str(self.engines.runtime)} if shared_directory else {}
        self.state_dir = Path(self._shared.get("XDG_STATE_HOME", folder / "state")) / "kraken-engine" / "default"
        self._logs = logs
        # The command that starts it, if not itself.
        self._wrapper = wrapper
        self.key_path = folder / "kraken.key" if key_file else None
        if self.key_path is not None:
            self.key_path.write_text(f"{self.key['api_key']}\n{self.key['api_secret']}\n")
            self.key_path.chmod(0o600)
            trading += f'\ncredentials_file = "{self.key_path}"'
        places = venue.ready | {"private": self.relay.url if self.relay is not None else venue.ready["private"]}
        text = CONFIG.format(
            name="default", symbols=", ".join(f'"{symbol}"' for symbol in symbols.split(",")), trading=trading,
            risk=risk, engine=engine, level=level, **places,
        )  # fmt: skip
        for name in names:
            text += f'[[strategy]]\ntarget = "{PUPPET}"\nname = "{name}"\n'
            text += f'params = {{ path = "{folder / name}"{params} }}\n'
        self.config = folder / "engine.toml"
        self.config.write_text(text + strategies)
        # Hangs so far; the file that ends the last one has its number.
        self._hangs = 0
        self._diaries: dict[str, Diary] = {}
        self._wish_files = {name: (folder / f"{name}.wishes").open("a", buffering=1) for name in names}
        self._is_new = is_new
        self.process: ForkedProcess

    @property
    def key_environment(self) -> dict[str, str]:
        """The key, as environment variables give it."""
        return {"KRAKEN_API_KEY": self.key["api_key"], "KRAKEN_API_SECRET": self.key["api_secret"]}

    # --- life

    def start(self, *, wait: bool = True) -> "TradingEngine":
        """Start it, and wait until it takes orders."""
        environment = self.engines.environment | self._shared
        if self.key_path is None:
            environment |= self.key_environment
        path = self.folder / f"engine-{len(list(self.folder.glob('engine-*.log')))}.log"
        log = (path if self._logs else Path(os.devnull)).open("w")
        with log:
            self.process = self.engines.spawn(
                "run", self.config, "--summary", self.summary_path,
                is_new=self._is_new, wrapper=self._wrapper, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        if wait:
            try:
                self.wait_until_open()
            except BaseException:
                self.close()
                raise
        return self

    def wait_until_open(self) -> None:
        """Until the router takes orders and every book is verified."""
        eventually(lambda: self._ended() or self.router("status").get("is_open"), "the router takes orders")
        assert self.process.poll() is None, self.log()[-3000:]
        eventually(
            lambda: all(pair["state"] == "live" for pair in self.status().get("symbols", {"": {"state": ""}}).values()),
            "every book is live",
        )

    def stop(self) -> dict[str, Any]:
        """End it in order; its summary."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        summary: dict[str, Any] = json.loads(self.summary_path.read_text()) if self.summary_path.exists() else {}
        return summary

    def close(self) -> None:
        """Whatever still runs is killed."""
        family = []
        with suppress(psutil.NoSuchProcess, AttributeError):
            family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(AttributeError):
            self.process.wait()
        if self.relay is not None:
            self.relay.close()
        for file in self._wish_files.values():
            file.close()
        self.engines.close()

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def log(self) -> str:
        """All that it logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("engine-*.log")))

    # --- questions

    def _ask(self, socket_name: str, request: dict[str, Any]) -> dict[str, Any]:
        return ask_engine(self.engines.runtime, socket_name, request)

    def status(self) -> dict[str, Any]:
        """The engine's summary so far; empty while it does not answer."""
        return self.engines.status()

    def router(self, command: str, **fields: Any) -> dict[str, Any]:
        """What the order router answers; empty while it does not."""
        return self._ask("router", {"command": command, **fields})

    def fork_server_pid(self) -> int:
        """Of the process that forks the others, once it can."""

        def found() -> int | None:
            children = psutil.Process(self.process.pid).children()
            return next((child.pid for child in children if "fork server" in " ".join(child.cmdline())), None)

        return eventually(found, "the fork server runs") or 0

    def pid(self, actor: str) -> int:
        """Of the actor's present process."""
        found = eventually(lambda: self.status().get("processes", {}).get(actor), f"there is a {actor}")
        return int(found)

    def counts(self) -> dict[str, int]:
        """The router's counters."""
        counts: dict[str, int] = self.status()["trading"]["counts"]
        return counts

    def is_open(self) -> bool:
        """Does the router take orders?"""
        return bool(self.router("status").get("is_open"))

    # --- strategies

    def wish(self, do: str, puppet: str = "", **fields: Any) -> None:
        """Have a puppet do something."""
        self._wish_files[puppet or self.names[0]].write(json.dumps({"do": do, **fields}) + "\n")

    def hang(self, how: str = "sleep", puppet: str = "", **fields: Any) -> None:
        """Have a puppet hang (sleep, spin, or flood and sleep) until `wake`."""
        self._hangs += 1
        self.wish(how, puppet, until=str(self.folder / f"wake-{self._hangs}"), **fields)

    def wake(self) -> None:
        """Have the puppet that hangs go on."""
        (self.folder / f"wake-{self._hangs}").touch()

    def diary(self, puppet: str = "") -> Diary:
        """What a puppet was told."""
        name = puppet or self.names[0]
        if name not in self._diaries:
            self._diaries[name] = Diary(self.folder / name)
        return self._diaries[name]

    def told(self, name: str, puppet: str = "") -> list[dict[str, Any]]:
        """What a puppet was told of the order of this name, oldest first."""
        return [entry for entry in self.diary(puppet).entries("order") if entry["name"] == name]

    def wait_for_state(self, name: str, *states: str, puppet: str = "") -> dict[str, Any]:
        """The latest that the puppet was told of an order, once that is one of these states."""

        def look() -> Any:
            told = self.told(name, puppet)
            return told and told[-1]["state"] in states and told[-1]

        try:
            found: dict[str, Any] = eventually(look, f"{name} is {' or '.join(states)}")
        except AssertionError as error:
            told = [(entry["state"], entry["reason"]) for entry in self.told(name, puppet)]
            raise AssertionError(f"{error}; it was told {told}; {self.log()[-1500:]}") from None
        return found

    def id_of(self, name: str, puppet: str = "") -> str:
        """The engine's id of an order."""
        entry = eventually(
            lambda: [entry for entry in self.diary(puppet).entries("named") if entry["name"] == name],
            f"{name} was asked for",
        )
        return str(entry[0]["id"])

    def lose_trading_link(self) -> None:
        """From now on the router's connection is reset whenever it comes, and the router knows."""
        relay, before = self.relay, self.counts()["disconnects"]
        assert relay is not None
        relay.down("orders")
        eventually(lambda: not relay.carries("orders"), "the trading link is gone")
        eventually(lambda: self.counts()["disconnects"] > before, "the router knows")

    # --- the judge

    def at_venue(self, name: str, puppet: str = "") -> list[dict[str, Any]]:
        """The venue's orders under an order's id; more than one is one too many."""
        key = self.id_of(name, puppet)
        return [order for order in self.venue.orders(self.account) if order["cl_ord_id"] == key]

    def differences(self, *, told: bool = True) -> list[str]:
        """Between ledger, journal, and what the strategies were told."""
        orders, fills = read_state(self.state_dir)
        ledger = self.venue.ledger(self.account)
        return [
            *(
                difference
                for difference in compare(ledger, orders, fills, [self._told_of(name, orders) for name in self.names])
                if told or not difference.startswith("strategies were told")
            ),
            *(self._callbacks_differ(ledger) if told else ()),
        ]

    def wait_until_agreed(self, *, told: bool = True) -> None:
        """Until ledger, journal and callbacks say the same.

        The venue trades on while the three are read one after the other, so that only a
        difference which stays is one.
        """
        differences: list[str] = []

        def agree() -> bool:
            differences[:] = self.differences(told=told)
            return not differences

        with suppress(AssertionError):  # the differences themselves say more
            eventually(agree, "all agree")
        if differences:
            raise AssertionError(f"they differ: {differences}; {self.log()[-3000:]}")

    def _told_of(self, puppet: str, orders: Any) -> Told:
        fills, ends, over = Tally(), Tally(), {}
        for entry in self.diary(puppet).entries("fill"):
            if entry["id"] in orders:
                fills.add(entry["exec_id"], entry["id"], Decimal(entry["qty"]), Decimal(entry["price"]))
        for entry in self.diary(puppet).entries("order"):
            over[entry["id"]] = entry["state"]
        for order_id, state in over.items():
            if state in OVER and state != "REFUSED":
                ends.add(order_id, state)
        return Told(fills, ends)

    def _callbacks_differ(self, ledger: Ledger) -> Iterator[str]:
        """The callbacks against the ledger directly, by a way of their own."""
        latest: dict[str, dict[str, Any]] = {}
        fills: dict[str, dict[str, Any]] = {}
        for name in self.names:
            for entry in self.diary(name).entries("order"):
                latest[entry["id"]] = entry
                latest[entry["order_id"]] = entry  # orders with a closing order carry no client order id
            for entry in self.diary(name).entries("fill"):
                if entry["exec_id"] in fills:
                    yield f"fill {entry['exec_id']} was told twice"
                fills[entry["exec_id"]] = entry
        for entry in self.venue.orders(self.account):
            told = latest.get(entry["cl_ord_id"] or entry["order_id"])
            for name, word in (("order_qty", "qty"), ("limit_price", "limit")):
                if told is not None and entry[name] is not None and Decimal(entry[name]) != Decimal(told[word]):
                    yield f"order {entry['cl_ord_id']} has {name} {entry[name]}, its strategy was told {told[word]}"
        for order in ledger.orders:
            told = latest.get(order.cl_ord_id or order.order_id)
            if told is None:
                yield f"nobody was told of order {order.cl_ord_id} ({order.status})"
            elif told["state"] not in ((order.status.upper(),) if order.status in ENDED_THERE else OPEN):
                yield f"order {order.cl_ord_id} is {order.status}, its strategy was told {told['state']}"
            elif Decimal(told["filled"]) != order.cum_qty:
                yield f"order {order.cl_ord_id} has {order.cum_qty} filled, its strategy was told {told['filled']}"
        for fill in ledger.fills:
            entry = fills.pop(fill.exec_id, None)
            if entry is None:
                yield f"nobody was told of fill {fill.exec_id}"
            elif (Decimal(entry["qty"]), Decimal(entry["price"])) != (fill.qty, fill.price):
                yield f"fill {fill.exec_id} was told otherwise"
        for exec_id in fills:
            yield f"fill {exec_id} was told, and the venue has none such"


def is_alive(pid: int) -> bool:
    """Does this process run (a zombie does not)?"""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def engines_on(venue: TradingVenue, folder: Path, **usual: Any) -> Iterator[Callable[..., TradingEngine]]:
    """Makes engines on a venue, each in a folder and with an account of its own, which are closed at the end."""
    made: list[TradingEngine] = []

    def make(**options: Any) -> TradingEngine:
        made.append(TradingEngine(venue, folder / f"{len(made)}", **usual | options))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
