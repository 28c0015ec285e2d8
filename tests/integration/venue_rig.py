"""A venue of its own process, and configurations that point to it: for the commands that examine an account."""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.rig import PATIENCE_S, Engines

LIMITS = "[risk]\norder_notional_max = 1000\nposition_notional_max = 5000\ndaily_loss_max = 100\n"
TRADING = (
    "query-funds",
    "query-open-trades",
    "query-closed-trades",
    "modify-trades",
    "close-trades",
    "create-ws-token",
)
CANARY = "Y2FuYXJ5IHNlY3JldCBvZiB0aGUgdGVzdHMsIG5vYm9keSBtYXkgZXZlciBzZWUgaXQ="


class CheckedVenue:
    """A venue, and configurations that point to it."""

    def __init__(self, engines: Engines, *options: object) -> None:
        self.engines = engines
        process = engines.spawn("venue", "--port", 0, "--rate", 0, *options, stdout=subprocess.PIPE)
        assert process.stdout is not None
        self.ready: dict[str, str] = json.loads(process.stdout.readline())

    def key(self, **spec: Any) -> dict[str, str]:
        """Another key of the venue."""
        request = urllib.request.Request(
            f"{self.ready['rest']}/venue/keys", json.dumps(spec).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            made: dict[str, str] = json.load(answer)
        return made

    def config(self, key: dict[str, str] | None = None, *, more: str = LIMITS, symbols: str = "BTC/USD") -> Path:
        """A configuration with the key in a private file."""
        key = key or self.ready
        folder = self.engines.folder
        secrets = folder / "kraken.key"
        secrets.write_text(f'api_key = "{key["api_key"]}"\napi_secret = "{key["api_secret"]}"\n')
        secrets.chmod(0o600)
        path = folder / "check.toml"
        path.write_text(
            f'symbols = ["{symbols}"]\n[venue]\nurl = "{self.ready["public"]}"\n'
            f'private_url = "{self.ready["private"]}"\n'
            f'rest_url = "{self.ready["rest"]}"\n[trading]\nenabled = true\ncredentials_file = "kraken.key"\n{more}'
        )
        return path

    def check(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """`engine check …` with a state directory of the test's own."""
        return self.engines.call("check", *arguments, **environment)

    def findings(self, *arguments: object, **environment: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
        """The exit code, and (level, text) of each finding by its name; no secret and no traceback anywhere."""
        done = self.check(*arguments, "--json", **environment)
        assert "Traceback" not in done.stderr, done.stderr
        assert CANARY not in done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert answer["ok"] == (done.returncode == 0)
        found: dict[str, list[tuple[str, str]]] = {}
        for row in answer["checks"]:
            found.setdefault(row["name"], []).append((row["level"], row["text"]))
        return done.returncode, found
