"""The bar chart: a panel for each family, a group of bars for each layer, the FMA peak as a line."""

from pathlib import Path
from typing import Any

from bench.report import OURS, gflops, peers_of, setup

COLORS = {
    OURS: "#d1495b",
    "torch": "#2f4b7c",
    "torch_channels_last": "#6c8ebf",
    "onnxruntime": "#3a7d44",
    "openvino": "#7d5ba6",
    "openvino_channels_last": "#b79ad8",
    "ncnn": "#e0a030",
    "opencv": "#20a4a4",
    "scipy": "#8c8c8c",
}
COLUMNS = 3
BAR, GAP = 1.0, 1.2


def draw(run: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    names = [name for name in (OURS, *peers_of(run)) if name in run["contestants"]]
    families: dict[str, list[dict[str, Any]]] = {}
    for layer in run["layers"]:
        families.setdefault(layer["family"], []).append(layer)
    lengths = {family: sum(length(layer, names) for layer in layers) for family, layers in families.items()}
    columns = spread(lengths)
    peak = run["peak_gflops"] and run["peak_gflops"] * run["settings"]["threads"]
    tallest = max(sum(lengths[family] + 5 for family in column) for column in columns)
    figure = plt.figure(figsize=(6.2 * len(columns), 0.105 * tallest + 1.2), layout="constrained")
    for parent, column in zip(figure.subfigures(1, len(columns), squeeze=False)[0], columns, strict=True):
        rest = tallest - sum(lengths[family] + 5 for family in column)
        heights = [lengths[family] + 5 for family in column] + [rest] * (rest > 0)
        axes = parent.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis in axes[len(column) :]:
            axis.axis("off")
        for axis, family in zip(axes, column, strict=False):
            panel(axis, family, families[family], names, peak)
    handles: list[Any] = [Patch(color=COLORS[name]) for name in names]
    labels = [name.replace("_", " ") for name in names]
    if peak:
        handles.append(Line2D([], [], color="black", linestyle="--", linewidth=1))
        labels.append(f"FMA peak, {peak:.0f}")
    title = f"GFLOP/s, {setup(run)}, {run['machine']['cpu']}"
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, title=title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def length(layer: dict[str, Any], names: list[str]) -> float:
    """The height of a layer's bars and the gap after them, in bars."""
    return sum(BAR for name in names if gflops(layer, name)) + GAP


def spread(lengths: dict[str, float]) -> list[list[str]]:
    """The families in their order, broken into columns of about the same length."""
    columns: list[list[str]] = [[]]
    share, filled = sum(lengths.values()) / COLUMNS, 0.0
    for family, size in lengths.items():
        if columns[-1] and filled + size / 2 > share * len(columns) and len(columns) < COLUMNS:
            columns.append([])
        columns[-1].append(family)
        filled += size
    return columns


def panel(axis: Any, family: str, layers: list[dict[str, Any]], names: list[str], peak: float | None) -> None:
    ticks, y = [], 0.0
    for layer in layers:
        top = y
        for name in names:
            if speed := gflops(layer, name):
                axis.barh(y, speed, 0.92 * BAR, color=COLORS[name])
                if name == OURS:
                    text = f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"
                    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
                    offset = {"xytext": (3, 0), "textcoords": "offset points"}
                    axis.annotate(text, (speed, y), **offset, va="center", fontsize=7, bbox=box)
                y += BAR
        ticks.append((top + y - BAR) / 2)
        y += GAP
    axis.set_yticks(ticks, [layer["name"] for layer in layers], fontsize=8)
    axis.set_ylim(y - GAP, -BAR)
    axis.tick_params(axis="x", labelsize=7)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.set_title(family, fontsize=10, fontweight="bold", loc="left")
    if peak and axis.get_xlim()[1] > peak / 2:
        axis.axvline(peak, color="black", linestyle="--", linewidth=1)
