"""The stop-watch: batches of calls, interleaved over all contestants of a layer. README.md has the reasons."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median

from bench.contestant import Call


@dataclass
class Runner:
    """One contestant on one layer."""

    name: str
    call: Call
    calls: int = 1
    """Calls of a batch."""
    rounds: list[float] = field(default_factory=list)
    """Of each batch, the mean seconds of a call."""

    def size(self, seconds: float) -> None:
        """Warms up, and sets `calls` so that a batch takes about `seconds`."""
        self.call()
        calls = 1
        while (elapsed := calls * batch(self.call, calls)) < seconds / 4:
            calls *= 2
        self.calls = max(1, round(seconds * calls / elapsed))


def batch(call: Call, calls: int) -> float:
    """Mean seconds of `calls` calls in a row, after untimed ones that bring data and code back to the caches."""
    for _ in repeat(None, 1 + calls // 10):
        call()
    start = time.perf_counter()
    for _ in repeat(None, calls):
        call()
    return (time.perf_counter() - start) / calls


def settle(limit: float = 3.0) -> None:
    """Waits until the threads of this process sleep: a pool that still spins would take the next contestant's CPU."""
    pause = 0.001
    for _ in range(round(limit / pause)):
        busy = time.process_time()
        time.sleep(pause)
        if time.process_time() - busy < pause / 5:
            return


def interleave(runners: Sequence[Runner], rounds: int, probe: Callable[[], None] = lambda: None) -> None:
    """Fills `rounds` of each runner. In every round each has one batch, in an order that rotates; `probe` runs once."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            settle()
            probe()
            first = turn % max(1, len(runners))
            for runner in [*runners[first:], *runners[:first]]:
                settle()
                runner.rounds.append(batch(runner.call, runner.calls))
    finally:
        if collecting:
            gc.enable()


def fastest(calls: dict[str, Call], seconds: float = 0.005) -> str:
    """The key of the quickest call, by the best of three short batches each."""
    if len(calls) == 1:
        return next(iter(calls))
    runners = [Runner(key, call) for key, call in calls.items()]
    for runner in runners:
        settle()
        runner.size(seconds)
    interleave(runners, 3)
    return min(runners, key=lambda runner: min(runner.rounds)).name


def summary(runner: Runner) -> dict[str, object]:
    middle = median(runner.rounds)
    return {
        "seconds": middle,
        "median": middle,
        "min": min(runner.rounds),
        "calls": runner.calls,
        "rounds": runner.rounds,
    }
