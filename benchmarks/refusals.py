"""How long a key still opens the API after its client was suspended, or it was revoked.

`python -m benchmarks.refusals` brings the service up in a home of its own. In each round two
clients call `GET /account` without a pause, two threads each, so that every process of the function
that answers has their keys in mind. Then one client is suspended and the other one's key revoked,
as the command line does it. It prints one JSON document: the seconds from the command's return to
the end of the last answer that was not a refusal, for each round; none: not one came.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field

import httpx

from admin_cli.local.stack import PROJECT, bring_down, bring_up, wipe
from admin_cli.tenants.registry import open_registry

HOME = PROJECT / ".local" / "refusals"
WARM_ANSWERS = 20
# After so many seconds without an open door no other can come: the promise is 30.
QUIET = 35.0
PLANS = """
[calls]
title = "Calls"
studies = { limit = 100, period = "month" }
requests = { limit = 10000000, period = "month" }
throttle = { rate_per_second = 10000, burst = 10000 }
"""


@dataclass
class Calls:
    """Two threads that ask with a key until they are told to stop."""

    url: str
    secret: str = field(repr=False)
    opened: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Start them."""
        for _ in range(2):
            threading.Thread(target=self._ask).start()

    def _ask(self) -> None:
        with httpx.Client(headers={"x-api-key": self.secret}, timeout=60) as client:
            while not self.stop.is_set():
                if client.get(f"{self.url}/account").is_success:
                    self.opened.append(time.perf_counter())

    def wait(self) -> None:
        """Wait until the key has opened often."""
        while len(self.opened) < WARM_ANSWERS:
            time.sleep(0.1)

    def after(self, moment: float) -> float | None:
        """Return the seconds from a moment to the last answer."""
        late = [one - moment for one in self.opened if one > moment]
        return round(max(late), 2) if late else None


def one_round(url: str, number: int) -> dict[str, float | None]:
    """Return the seconds of one round, of either kind."""
    registry = open_registry("local")
    calls: dict[str, Calls] = {}
    keys: dict[str, str] = {}
    for kind in ("suspended", "revoked"):
        name = f"{kind}-{number}-{int(time.time())}"
        registry.create_client(name, name, f"{name}@example.org", "calls")
        issued = registry.issue_key(name)
        calls[kind], keys[kind] = Calls(url, issued.secret), issued.key.id
        calls[kind].begin()
        if kind == "suspended":
            suspended = name
    for one in calls.values():
        one.wait()
    registry.suspend(suspended)
    moments = {"suspended": time.perf_counter()}
    registry.revoke_key(keys["revoked"])
    moments["revoked"] = time.perf_counter()
    time.sleep(QUIET)
    for one in calls.values():
        one.stop.set()
    return {kind: calls[kind].after(moment) for kind, moment in moments.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    plans = HOME / "plans.toml"
    plans.write_text((PROJECT / "plans.toml").read_text(encoding="utf-8") + PLANS, "utf-8")
    os.environ |= {"RADGATE_HOME": str(HOME), "RADGATE_PLANS": str(plans)}
    wipe(HOME, keep=("build",))
    try:
        state = bring_up(HOME, None, lambda text: print(text, file=sys.stderr))
        rounds = [one_round(state.api_url, number) for number in range(options.rounds)]
    finally:
        bring_down(HOME)
    told = {}
    for kind in ("suspended", "revoked"):
        seconds = [found[kind] or 0.0 for found in rounds]
        told[kind] = {
            "rounds": [found[kind] for found in rounds],
            "median": statistics.median(seconds),
            "longest": max(seconds),
        }
    json.dump(told, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
