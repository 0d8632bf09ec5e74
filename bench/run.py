"""Runs layers against contestants and returns the record that report.py prints, chart.py draws and --json writes."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from bench import ours
from bench.case import Case, make_case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array, Layer
from bench.machine import ForeignLoad, machine
from bench.peers import PEERS
from bench.reference import reference, relative_error
from bench.timing import Runner, fastest, interleave, settle, summary

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
"""max|y - y64| / max|y64|: room for a Winograd or FFT sum, none for bfloat16, TensorFloat-32 or float32 as double."""

MEMCPY_FAMILIES = ("depthwise", "image")
"""Their layers compute little for the memory they touch, so copying the image is the bound to look at."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    threads: int = 1
    rounds: int = 7
    seconds: float = 0.03
    dtype: str = "float32"
    pass_: str = "forward"


def select_contestants(peers: str | None, algorithms: bool = False, pass_: str = "forward") -> list[Contestant]:
    """tileconv's rows and the peers named (all if None), as far as they are installed and have the pass."""
    names = list(PEERS) if peers is None else [name.strip() for name in peers.split(",") if name.strip()]
    for name in names:
        if name not in PEERS:
            raise SystemExit(f"no peer {name!r}; there are {', '.join(PEERS)}")
        if peers is not None and not PEERS[name].available():
            raise SystemExit(f"the peer {name!r} is not installed: pip install -r bench/requirements.txt")
    kinds = [*ours.OURS.values(), *(PEERS[name] for name in names)]
    contestants = [kind() for kind in kinds if pass_ in kind.passes and kind.available()]
    return contestants + (ours.algorithms() if algorithms and ours.Tileconv.available() else [])


def run(
    layers: Iterable[Layer],
    contestants: list[Contestant],
    settings: Settings,
    on_contestant: Callable[[Layer, str], None] = lambda layer, name: None,
    on_layer: Callable[[Record], None] = lambda record: None,
) -> Record:
    """`on_contestant` hears who is being prepared or timed, `on_layer` gets each finished layer."""
    records, foreign = [], ForeignLoad()
    for layer in layers:
        records.append(run_layer(layer, contestants, settings, on_contestant))
        on_layer(records[-1])
    peaks = [sample for record in records for sample in record["peak_rounds"]]
    return {
        "machine": machine() | {"foreign_load": foreign.share()},
        "settings": asdict(settings),
        "contestants": {
            contestant.name: {
                "version": contestant.version(),
                "ours": isinstance(contestant, ours.Ours),
                "winograd": contestant.winograd,
            }
            for contestant in contestants
        },
        "peak_gflops": median(peaks) if peaks else None,
        "layers": records,
    }


def run_layer(
    layer: Layer,
    contestants: list[Contestant],
    settings: Settings,
    on_contestant: Callable[[Layer, str], None],
) -> Record:
    case = make_case(layer, settings.pass_, np.dtype(settings.dtype))
    y64 = reference(case)
    results: dict[str, Record] = {}
    runners = []
    for contestant in contestants:
        on_contestant(layer, contestant.name)
        call, results[contestant.name] = admit(contestant, case, y64, settings)
        if call:
            runners.append(Runner(contestant.name, call))
    if layer.family in MEMCPY_FAMILIES:
        runners.append(Runner("memcpy", memcpy(case.image)))
    for runner in runners:
        settle()
        runner.size(settings.seconds)
    on_contestant(layer, "rounds")
    peaks: list[float] = []
    interleave(runners, settings.rounds, lambda: peaks.extend(peak(settings.dtype)))
    times = {runner.name: summary(runner) for runner in runners}
    record = asdict(layer) | {"mflop": layer.mflop, "peak_rounds": peaks, "memcpy": times.pop("memcpy", None)}
    if ours.Tileconv.name in times:
        record["auto"] = ours.planned(case)
    return record | {"results": {name: result | times.get(name, {}) for name, result in results.items()}}


def admit(contestant: Contestant, case: Case, y64: Array, settings: Settings) -> tuple[Call | None, Record]:
    """The contestant's fastest right way to run the case; if there is none, None and the reasons in "note"."""
    if settings.dtype not in contestant.dtypes:
        return None, {"note": f"no {settings.dtype}"}
    try:
        ways = contestant.prepare(case, settings.threads)
    except Unsupported as error:
        return None, {"note": str(error)}
    except Exception as error:
        return None, {"note": f"FAILED: {error!r}"}
    good: dict[str, Call] = {}
    errors: dict[str, float] = {}
    notes = []
    for way, call in ways.items():
        start = time.perf_counter()
        try:
            result = call()
        except Exception as error:
            notes.append(f"{way} FAILED: {error!r}")
            continue
        seconds = time.perf_counter() - start
        errors[way] = relative_error(contestant.to_numpy(result), y64)
        if errors[way] > TOLERANCE[settings.dtype]:
            notes.append(f"{way} WRONG: error {errors[way]:.1e}")
        elif seconds > contestant.limit_seconds:
            notes.append(f"{way} takes {seconds:.1f} s a call")
        else:
            good[way] = call
    if not good:
        return None, {"note": "; ".join(notes)}
    best = fastest(good)
    return good[best], {"way": best, "error": errors[best]} | ({"note": "; ".join(notes)} if notes else {})


def memcpy(x: Array) -> Call:
    copy = np.empty_like(x)
    return lambda: np.copyto(copy, x)


def peak(dtype: str, seconds: float = 0.005) -> list[float]:
    """One sample of the FMA peak of one core in GFLOP/s, for tileconv's instruction set; empty without tileconv."""
    if not ours.Tileconv.available():
        return []
    from tileconv import _core

    return [_core.fma_peak(np.dtype(dtype), seconds)]
