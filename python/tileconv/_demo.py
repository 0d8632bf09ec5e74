"""The demo behind ``python -m tileconv demo``: a picture of what convolutions do, then ResNet-50's layers timed.

Needs the extra 'demo' (matplotlib, rich, scikit-image); the photographs are those in scikit-image's wheel.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import skimage.data
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import Conv2d, Explanation, _core, conv2d, explain, get_num_threads, num_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from ._core import Array

MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
COLUMNS = 5
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
EMBOSS = np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32)


class Panel(NamedTuple):
    title: str
    subtitle: str
    picture: Array  # (channels, height, width) in 0 .. 1
    edge: tuple[tuple[int, int], ...] = ()  # the corners (x, y) of a dashed line


class Section(NamedTuple):
    title: str
    text: str
    panels: list[Panel]


@dataclass(frozen=True)
class Layer:
    """A convolution of ResNet-50 on square images with `kernel // 2` of padding."""

    name: str
    in_channels: int
    size: int
    out_channels: int
    kernel: int
    stride: int = 1
    batch: int = 1

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.in_channels, self.size, self.size

    @property
    def plan(self) -> Explanation:
        weight_shape = self.out_channels, self.in_channels, self.kernel, self.kernel
        return explain(self.image_shape, weight_shape, stride=self.stride, padding=self.kernel // 2, frozen=True)

    @property
    def gflop(self) -> float:
        return 2e-9 * math.prod(self.plan.output_shape) * self.in_channels * self.kernel**2

    def __str__(self) -> str:
        batch = f"{self.batch}x" if self.batch > 1 else ""
        kernel = f"{self.kernel}x{self.kernel}" + (f"/{self.stride}" if self.stride > 1 else "")
        return f"{batch}{self.in_channels}x{self.size}x{self.size} > {self.out_channels} {kernel}"


LAYERS = (
    Layer("conv1", 3, 224, 64, 7, stride=2),
    Layer("2_1x1a", 64, 56, 64, 1),
    Layer("2_3x3", 64, 56, 64, 3),
    Layer("2_1x1b", 64, 56, 256, 1),
    Layer("3_1x1a", 256, 56, 128, 1),
    Layer("3_3x3s2", 128, 56, 128, 3, stride=2),
    Layer("3_ds", 256, 56, 512, 1, stride=2),
    Layer("3_3x3", 128, 28, 128, 3),
    Layer("3_1x1b", 128, 28, 512, 1),
    Layer("4_3x3", 256, 14, 256, 3),
    Layer("4_1x1b", 256, 14, 1024, 1),
    Layer("4_1x1c", 1024, 14, 256, 1),
    Layer("5_3x3", 512, 7, 512, 3),
    Layer("5_1x1b", 512, 7, 2048, 1),
    Layer("3_3x3.b8", 128, 28, 128, 3, batch=8),
    Layer("4_1x1b.b8", 256, 14, 1024, 1, batch=8),
)


def photograph(name: str) -> Array:
    """One of scikit-image's own pictures, (height, width, ...) in 0 .. 1."""
    pixels: Array = getattr(skimage.data, name)()
    return np.float32(1 / 255) * pixels


def grid(size: int) -> tuple[Array, Array]:
    """Rows and columns of a size x size kernel, counted from its centre."""
    steps = np.arange(size, dtype=np.float32) - size // 2
    return steps[:, None], steps[None, :]


def normalised(kernel: Array) -> Array:
    unit: Array = kernel / kernel.sum()
    return unit


def zero_mean(kernel: Array) -> Array:
    balanced: Array = kernel - kernel.mean()
    return balanced


def gaussian(size: int, sigma: float) -> Array:
    y, x = grid(size)
    return normalised(np.exp(-(x**2 + y**2) / (2 * sigma**2)))


def laplacian_of_gaussian(size: int, sigma: float) -> Array:
    y, x = grid(size)
    return zero_mean(((x**2 + y**2) / (2 * sigma**2) - 1) * gaussian(size, sigma))


def gabor(size: int, degrees: float, wavelength: float) -> Array:
    """A wave across the direction `degrees` under a Gaussian window, of zero mean."""
    y, x = grid(size)
    angle = math.radians(degrees)
    along = x * math.cos(angle) + y * math.sin(angle)
    return zero_mean(np.cos(2 * np.pi / wavelength * along) * gaussian(size, wavelength / 2))


def motion(size: int) -> Array:
    """A line from the lower left to the upper right: the path of a moving camera."""
    y, x = grid(size)
    return normalised(np.clip(1.5 - np.abs(y + x), 0, 1))


def lens(size: int) -> Array:
    """A disc: the picture of a point through an open aperture out of focus."""
    y, x = grid(size)
    return normalised(np.clip(size / 2 - np.hypot(x, y), 0, 1))


def each_colour(image: Array, kernel: Array, **arguments: Any) -> Array:
    """`image` with the same kernel on every channel: a depthwise convolution."""
    weight = np.tile(kernel.astype(np.float32), (len(image), 1, 1, 1))
    return conv2d(image, weight, groups=len(image), **{"padding": "same", "padding_mode": "reflect", **arguments})


def gradient(image: Array, **arguments: Any) -> Array:
    """Magnitude of the Sobel gradients, every channel for itself: two kernels a channel in one call."""
    weight = np.tile(np.stack([SOBEL, SOBEL.T])[:, None], (len(image), 1, 1, 1))
    both = conv2d(image, weight, padding="same", padding_mode="reflect", groups=len(image), **arguments)
    return np.hypot(both[0::2], both[1::2])


def stretched(image: Array, share: float = 99.0) -> Array:
    """Magnitudes scaled so that `share` percent of them lie in 0 .. 1."""
    scaled: Array = image / np.percentile(image, share)
    return scaled


def kernels_section(photo: Array, grey: Array) -> Section:
    blurred = each_colour(photo, gaussian(21, 4))
    waves = np.stack([gabor(31, degrees, 9) for degrees in (0, 60, 120)]).astype(np.float32)[:, None]
    oriented = conv2d(grey, waves, padding="same", padding_mode="reflect")
    sharpen = -2 * gaussian(9, 1.5)
    sharpen[4, 4] += 3
    panels = [
        Panel("The photograph", "512 x 512, three channels", photo),
        Panel("Gaussian blur", "21 x 21", blurred),
        Panel("Sharpen", "9 x 9: identity + 2 (identity - blur)", each_colour(photo, sharpen)),
        Panel("Motion blur", "31 x 31: a moving camera", each_colour(photo, motion(31))),
        Panel("Lens blur", "31 x 31: an open aperture", np.cbrt(each_colour(photo**3, lens(31)))),
        Panel("The photograph in grey", "512 x 512, one channel", grey),
        Panel("Sobel gradient", "two 3 x 3: magnitude", stretched(gradient(grey))),
        Panel("Emboss", "3 x 3", 0.5 + each_colour(grey, EMBOSS) / 2),
        Panel("Laplacian of Gaussian", "15 x 15", 0.5 + 6 * each_colour(grey, laplacian_of_gaussian(15, 2))),
        Panel("Gabor, three directions", "three 31 x 31 as red, green, blue", stretched(np.abs(oriented))),
    ]
    return Section("Kernels", "What one convolution does to a picture.", panels)


def padding_section(photo: Array) -> Section:
    pad, near, around = 160, 12, 8
    end = pad + photo.shape[-1]
    square = ((pad, pad), (end, pad), (end, end), (pad, end), (pad, pad))
    corner = ((around + near, around), (around, around), (around, around + near))
    identity = np.ones((1, 1), np.float32)
    face = photo[:, 80:200:5, 190:310:5]
    panels = []
    for mode in MODES:
        padded = each_colour(photo, identity, padding=pad, padding_mode=mode)
        panels.append(Panel(f'"{mode}"', f"padding={pad}, kernel 1 x 1", padded, square))
    for mode in MODES:
        pixels = each_colour(face, identity, padding=around, padding_mode=mode)[:, : around + near, : around + near]
        panels.append(Panel("", f"padding={around}: the corner pixel by pixel", pixels, corner))
    for mode in MODES:
        blurred = each_colour(photo, gaussian(63, 16), padding_mode=mode)[:, :240, :240]
        panels.append(Panel("", '63 x 63 blur, padding="same": upper left', blurred))
    text = "What lies beyond the edge (dashed), and what of it a large blur brings in."
    return Section("Padding modes", text, panels)


def dilation_section(grey: Array) -> Section:
    edges = {d: stretched(gradient(grey, dilation=d)) for d in (1, 2, 4, 8, 16)}
    panels = [Panel(f"dilation={d}", f"spans {2 * d + 1} x {2 * d + 1}", stretched(edge)) for d, edge in edges.items()]
    return Section(
        "Dilation", "The same 3 x 3 Sobel kernels, their elements ever further apart: coarser edges.", panels
    )


def groups_section(photo: Array) -> Section:
    def per_colour(*kernels: Array) -> Array:
        weight = np.stack(kernels).astype(np.float32)[:, None]
        return conv2d(photo, weight, padding="same", padding_mode="replicate", groups=3)

    def mixed(matrix: list[list[float]]) -> Array:
        return conv2d(photo, np.array(matrix, np.float32)[:, :, None, None])

    shifts = np.zeros((3, 25, 25), np.float32)
    shifts[0, 12, 2] = shifts[1, 12, 12] = shifts[2, 12, 22] = 1
    sepia = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]]
    panels = [
        Panel("groups=3: a shift a colour", "25 x 25, depthwise", per_colour(*shifts)),
        Panel("groups=3: a blur a colour", "21 x 21, depthwise", per_colour(*(gaussian(21, s) for s in (0.5, 3, 8)))),
        Panel("groups=3: two kernels a colour", "3 to 6 channels: Sobel per colour", stretched(gradient(photo))),
        Panel("groups=1: colours mixed", "1 x 1 from 3 to 3 channels: sepia", mixed(sepia)),
        Panel("groups=1: colours mixed", "1 x 1 from 3 to 1 channel: grey", mixed([[0.299, 0.587, 0.114]])),
    ]
    return Section("Groups", "Every colour for itself (depthwise), or all colours into each output.", panels)


def show(axes: Axes, panel: Panel) -> None:
    picture = np.clip(panel.picture, 0, 1).transpose(1, 2, 0)
    small = len(picture) < 64
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest" if small else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if panel.edge:
        axes.plot(*(np.array(panel.edge).T - 0.5), "--", color="white", linewidth=1.6)
    axes.set_title(panel.title, fontsize=11, fontweight="bold", pad=4)
    axes.set_xlabel(panel.subtitle, fontsize=8.5, color="0.35", labelpad=3)


def draw(sections: list[Section], path: Path) -> None:
    """One picture of all sections, a row for each five panels."""
    rows = [math.ceil(len(section.panels) / COLUMNS) for section in sections]
    figure = Figure(figsize=(15, 3.35 * sum(rows)), dpi=100, layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.06))
    parts = figure.subfigures(len(sections), 1, squeeze=False, height_ratios=rows)[:, 0]
    for section, part, count in zip(sections, parts, rows):
        part.suptitle(f"{section.title}.  {section.text}", x=0.01, ha="left", fontsize=15)
        for axes, panel in zip(part.subplots(count, COLUMNS).flat, section.panels):
            show(axes, panel)
    figure.savefig(path)


def best_seconds(call: Callable[[], object], seconds: float) -> float:
    """The shortest of as many calls as fit into `seconds`."""
    call()
    best, end = math.inf, time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best


def layer_times(layer: Layer, seconds: float, threads: list[int]) -> list[float]:
    """The best time of a layer, its weights packed beforehand, on each number of threads."""
    geometry = layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.kernel // 2
    module = Conv2d(*geometry, bias=False, rng=0).freeze()
    image = np.random.default_rng(0).standard_normal(layer.image_shape, np.float32)
    times = []
    for count in threads:
        with num_threads(count):
            times.append(best_seconds(lambda: module(image), seconds))
    return times


def timing_table(console: Console, seconds: float) -> Table:
    """Times every layer, showing progress on `console`."""
    threads = sorted({1, get_num_threads()})
    progress = Progress(
        TextColumn("{task.description:28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    with progress:
        task = progress.add_task("multiply-add peak", total=len(LAYERS))
        peak = _core.fma_peak(np.dtype(np.float32), 10 * seconds)
        title = f"ResNet-50's layers, float32, weights packed; one core's peak {peak:.0f} GFLOP/s"
        table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for name in ("layer", "shape", "algorithm"):
            table.add_column(name)
        for name in ("ms", "GFLOP/s", "peak", *(f"{count} threads" for count in threads[1:])):
            table.add_column(name, justify="right")
        for layer in LAYERS:
            progress.update(task, description=layer.name)
            first, *others = layer_times(layer, seconds, threads)
            rate = layer.gflop / first
            cells = [f"{first * 1e3:.3f}", f"{rate:.1f}", f"{rate / peak:.0%}", *(f"{t * 1e3:.3f}" for t in others)]
            table.add_row(layer.name, str(layer), layer.plan.algorithm, *cells)
            progress.advance(task)
    return table


def run(out: Path, *, quick: bool) -> None:
    """Draw the picture at `out`, then time the layers and print a table; `quick` times each only briefly."""
    console = Console()
    photo = photograph("astronaut").transpose(2, 0, 1)
    grey = photograph("camera")[None]
    with console.status("convolving and drawing"):
        sections = [
            kernels_section(photo, grey),
            padding_section(photo),
            dilation_section(grey),
            groups_section(photo),
        ]
        draw(sections, out)
    console.print(f"picture: {out.resolve()}", soft_wrap=True)
    console.print(timing_table(console, seconds=0.02 if quick else 0.2))
