"""The tables: one run side by side with its peers, and two runs before and after. Works on the records of run.py."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.passes import PASSES

Record = dict[str, Any]

OURS = "tileconv"
OF_THEIR_OWN = ("depthwise", "large", "image", "tiny")
"""Families that call for kernels of their own; the others are what a general algorithm is measured by."""
GROUPS: dict[str, Callable[[Record], bool]] = {
    "general families": lambda layer: layer["family"] not in OF_THEIR_OWN,
    "dense 3x3, 64+ channels": lambda layer: (
        layer["kernel_h"] == layer["kernel_w"] == 3
        and layer["groups"] == layer["dilation_h"] == 1
        and min(layer["in_channels"], layer["out_channels"]) >= 64
    ),
    "above 0.3 ms": lambda layer: (seconds(layer, OURS) or 0) > 3e-4,
    "all": lambda layer: True,
}
"""Sets of layers that get a geometric mean besides the families."""


def wide_console() -> Console:
    """As wide as the terminal; where there is none, wide enough for every table."""
    console = Console()
    return console if console.is_terminal else Console(width=190)


def use(run: Record, statistic: str) -> Record:
    """The run with the "min" of the rounds, or their "median", as the time of each call."""
    # Runs are kept: the first had no choice of passes.
    run["settings"].setdefault("pass_", "forward")
    timed = [result for layer in run["layers"] for result in (*layer["results"].values(), layer["memcpy"] or {})]
    for result in timed:
        if statistic in result:
            result["seconds"] = result[statistic]
    return run


def seconds(layer: Record, name: str) -> float | None:
    time: float | None = layer["results"].get(name, {}).get("seconds")
    return time


def gflops(layer: Record, name: str) -> float | None:
    time = seconds(layer, name)
    return layer["mflop"] / 1e3 / time if time else None


def quotient(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def geometric_mean(values: Iterable[float | None]) -> float | None:
    logs = [log(value) for value in values if value]
    return exp(sum(logs) / len(logs)) if logs else None


def cell(value: float | None, digits: int = 2, style: str = "") -> str:
    if value is None:
        return "-"
    return f"[{style}]{value:.{digits}f}[/]" if style else f"{value:.{digits}f}"


def milliseconds(time: float | None) -> str:
    return cell(time and time * 1e3, 4 if time and time < 1e-3 else 3)


@dataclass(frozen=True)
class Column:
    """A ratio shown for each layer and, as a geometric mean, for each group."""

    title: str
    value: Callable[[Record], float | None]
    digits: int = 2
    low: float = 0.0
    """Smaller values are marked."""

    def of(self, layers: Iterable[Record]) -> str:
        value = geometric_mean(self.value(layer) for layer in layers)
        return cell(value, self.digits, "red" if value and value < self.low else "")


def peers_of(run: Record) -> list[str]:
    """Those that could run some layer of the run."""
    others = [name for name, entry in run["contestants"].items() if not entry["ours"]]
    return [name for name in others if any(seconds(layer, name) for layer in run["layers"])]


def ratio_columns(run: Record) -> list[Column]:
    """tileconv against its limits and its peers; a ratio of times, above 1 where tileconv is faster."""
    peers = peers_of(run)
    direct = [name for name in peers if not run["contestants"][name]["winograd"]]
    peak = run["peak_gflops"] and run["peak_gflops"] * run["settings"]["threads"]

    def against(names: list[str]) -> Callable[[Record], float | None]:
        return lambda layer: quotient(min(filter(None, (seconds(layer, n) for n in names)), default=None), us(layer))

    def us(layer: Record) -> float | None:
        return seconds(layer, OURS)

    columns = [
        Column("% peak", lambda layer: quotient(100 * (gflops(layer, OURS) or 0), peak), 0),
        Column("unfrozen", lambda layer: quotient(seconds(layer, f"{OURS}_unfrozen"), us(layer))),
        Column("x memcpy", lambda layer: quotient(us(layer), layer["memcpy"] and layer["memcpy"]["seconds"])),
        Column("vs torch", against(["torch"]), low=1.0),
        Column("vs best", against(peers), low=1.0),
        Column("vs best direct", against(direct), low=1.0),
    ]
    return [column for column in columns if any(column.value(layer) for layer in run["layers"])]


def table(title: str, *columns: str) -> Table:
    result = Table(title=title, title_justify="left", header_style="bold")
    result.add_column(columns[0], no_wrap=True)
    for column in columns[1:]:
        result.add_column(column.replace("_", "\n"), justify="right")
    return result


def print_run(run: Record, console: Console) -> None:
    if OURS not in run["contestants"]:
        console.print("tileconv is not installed here: peers only", style="yellow")
    print_layers(run, console)
    print_groups(run, console)
    print_algorithms(run, console)
    print_notes(run, console)


def setup(run: Record) -> str:
    settings = run["settings"]
    return f"{PASSES[settings['pass_']]}, {settings['dtype']}, {settings['threads']} thread(s)"


def print_layers(run: Record, console: Console) -> None:
    peers, ratios = peers_of(run), ratio_columns(run)
    peak = f"FMA peak of one core {run['peak_gflops']:.1f} GFLOP/s, " if run["peak_gflops"] else ""
    title = f"{setup(run)}, {peak}GFLOP/s unless said otherwise"
    result = table(title, "layer", f"{OURS}_ms", "least_ms", OURS, *peers, *(column.title for column in ratios))
    family = None
    for layer in run["layers"]:
        if layer["family"] != family:
            family = layer["family"]
            result.add_section()
        speeds = {name: gflops(layer, name) for name in peers}
        best = max(filter(None, speeds.values()), default=None)
        result.add_row(
            layer["name"],
            milliseconds(seconds(layer, OURS)),
            milliseconds(layer["results"].get(OURS, {}).get("min")),
            cell(gflops(layer, OURS), 1),
            *(cell(speed, 1, "bold" if speed == best else "") for speed in speeds.values()),
            *(column.of([layer]) for column in ratios),
        )
    console.print(result)
    if any(entry["winograd"] for entry in run["contestants"].values()):
        winograd = ", ".join(name for name, entry in run["contestants"].items() if entry["winograd"])
        console.print(f"[dim]'direct' leaves out who has Winograd: {winograd}[/]")


def grouped(layers: list[Record]) -> dict[str, list[Record]]:
    families: dict[str, list[Record]] = {}
    for layer in layers:
        families.setdefault(layer["family"], []).append(layer)
    return families | {name: [layer for layer in layers if member(layer)] for name, member in GROUPS.items()}


def print_groups(run: Record, console: Console) -> None:
    ratios = ratio_columns(run)
    if not ratios:
        return
    result = table("geometric means", "layers", "count", *(column.title for column in ratios))
    for name, layers in grouped(run["layers"]).items():
        if name in GROUPS and next(iter(GROUPS)) == name:
            result.add_section()
        if layers:
            result.add_row(name, str(len(layers)), *(column.of(layers) for column in ratios))
    console.print(result)


def print_algorithms(run: Record, console: Console) -> None:
    """Layers on which some algorithm beat the one that 'auto' chose by more than the noise."""
    prefix = f"{OURS}:"
    names = [name for name in run["contestants"] if name.startswith(prefix)]
    if not names:
        return
    columns = [name.removeprefix(prefix) for name in names]
    result = table("ms by algorithm", "layer", "auto takes", *columns, "fastest", "auto / fastest")
    for layer in run["layers"]:
        times = {name.removeprefix(prefix): seconds(layer, name) for name in names}
        timed = {name: time for name, time in times.items() if time}
        if not timed:
            continue
        quickest, auto = min(timed, key=lambda name: timed[name]), layer.get("auto", "-")
        loss = quotient(timed.get(auto), timed[quickest])
        style = "red" if loss and loss > 1.05 else ""
        cells = map(milliseconds, times.values())
        result.add_row(layer["name"], auto, *cells, quickest, cell(loss, 2, style))
    console.print(result)


def print_notes(run: Record, console: Console) -> None:
    """What was wrong, failed or left out, and how noisy the machine was."""
    for layer in run["layers"]:
        for name, result in layer["results"].items():
            note = result.get("note", "")
            if "WRONG" in note or "FAILED" in note:
                console.print(f"[red]{layer['name']}, {name}: {note}[/]")
    timed = [x for layer in run["layers"] for x in layer["results"].values() if "median" in x]
    foreign = run["machine"]["foreign_load"]
    if timed:
        spread = median(x["median"] / x["min"] for x in timed)
        taken = "" if foreign is None else f"; others took {100 * foreign:.0f} % of the CPUs used"
        style = "dim" if (foreign or 0) < 0.05 else "red"
        console.print(f"median over fastest round: {spread:.3f}{taken}", style=style)


def print_comparison(before: Record, after: Record, console: Console) -> None:
    """The contestants that both runs have; what stands under a peer tells how far the machine itself changed."""
    pairs = [(old, new) for new in after["layers"] for old in before["layers"] if old["name"] == new["name"]]
    if before["settings"] | {"rounds": 0, "seconds": 0} != after["settings"] | {"rounds": 0, "seconds": 0}:
        console.print(f"settings differ: {before['settings']} and {after['settings']}", style="yellow")
    names = [name for name in after["contestants"] if name in before["contestants"]]
    result = table("before / after, above 1 where after is faster", "layer", "before ms", "after ms", *names)

    def ratios(chosen: list[tuple[Record, Record]]) -> list[str]:
        return [cell(geometric_mean(quotient(seconds(a, n), seconds(b, n)) for a, b in chosen)) for n in names]

    for old, new in pairs:
        times = milliseconds(seconds(old, OURS)), milliseconds(seconds(new, OURS))
        result.add_row(new["name"], *times, *ratios([(old, new)]))
    result.add_section()
    for group, members in grouped([new for _, new in pairs]).items():
        chosen = [(old, new) for old, new in pairs if any(new is member for member in members)]
        if chosen:
            result.add_row(group, "", "", *ratios(chosen))
    console.print(result)
    if before["peak_gflops"] and after["peak_gflops"]:
        console.print(f"FMA peak: {before['peak_gflops']:.1f} before, {after['peak_gflops']:.1f} after")
