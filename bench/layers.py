"""The suites: the rows of layers.csv as `Layer`, those of transposed.csv as `TransposedLayer`."""

import csv
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.passes import GRADIENTS

Array = NDArray[Any]

FOLDER = Path(__file__).parent
SLOW_GRADIENTS = ("large",)
"""Families whose gradients take torch up to a second and more a call; they are timed if asked for."""


@dataclass(frozen=True)
class Layer:
    name: str
    family: str
    batch: int
    in_channels: int
    in_h: int
    in_w: int
    out_channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    pad_h: int = 0
    pad_w: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    padding_mode: str = "zeros"
    output_pad_h: int = 0
    output_pad_w: int = 0
    """Of a transposed layer only."""

    @property
    def kernel(self) -> tuple[int, int]:
        return self.kernel_h, self.kernel_w

    @property
    def stride(self) -> tuple[int, int]:
        return self.stride_h, self.stride_w

    @property
    def padding(self) -> tuple[int, int]:
        return self.pad_h, self.pad_w

    @property
    def dilation(self) -> tuple[int, int]:
        return self.dilation_h, self.dilation_w

    @property
    def output_padding(self) -> tuple[int, int]:
        return self.output_pad_h, self.output_pad_w

    @property
    def convolution(self) -> "Layer":
        """The convolution of which the layer is a pass."""
        return self

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.batch, self.in_channels, self.in_h, self.in_w

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.out_channels, self.in_channels // self.groups, self.kernel_h, self.kernel_w

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        sizes = zip((self.in_h, self.in_w), self.padding, self.dilation, self.kernel, self.stride, strict=True)
        out_h, out_w = ((size + 2 * pad - dil * (k - 1) - 1) // step + 1 for size, pad, dil, k, step in sizes)
        return self.batch, self.out_channels, out_h, out_w

    @property
    def mflop(self) -> float:
        """Every tap counts, those in the padding too: peers that skip them may pass the FMA peak."""
        batch, channels, out_h, out_w = self.output_shape
        return 2e-6 * batch * channels * out_h * out_w * prod(self.weight_shape[1:])

    @property
    def is_plane_filter(self) -> bool:
        """One plane in, one plane of the same size out: what an image library calls a filter."""
        same_size = self.output_shape == self.input_shape
        return same_size and self.in_channels == self.batch == 1 and self.stride == self.dilation == (1, 1)


class TransposedLayer(Layer):
    """A transposed convolution: all fields are its own, as `torch.nn.ConvTranspose2d` has them."""

    @property
    def convolution(self) -> Layer:
        """The convolution from this layer's output to its input, which the layer is the input gradient of."""
        sizes = zip((self.in_h, self.in_w), self.stride, self.padding, self.dilation, self.kernel, strict=True)
        shrunk = [(size - 1) * step - 2 * pad + dil * (k - 1) + 1 for size, step, pad, dil, k in sizes]
        out_h, out_w = (size + extra for size, extra in zip(shrunk, self.output_padding, strict=True))
        ends = {"in_channels": self.out_channels, "in_h": out_h, "in_w": out_w, "out_channels": self.in_channels}
        values = {field.name: getattr(self, field.name) for field in fields(Layer)}
        return Layer(**values | ends | {"output_pad_h": 0, "output_pad_w": 0})

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.convolution.weight_shape

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.convolution.input_shape

    @property
    def mflop(self) -> float:
        return self.convolution.mflop


def read_suite(path: Path, kind: type[Layer]) -> list[Layer]:
    """A suite may leave out columns of fields that have a default."""
    types = {field.name: field.type for field in fields(kind)}

    def parse(row: dict[str, str]) -> Layer:
        values: dict[str, Any] = {
            name: int(text) if types[name] is int else text for name, text in row.items() if name in types
        }
        return kind(**values)

    with path.open(newline="") as file:
        return [parse(row) for row in csv.DictReader(file)]


def load_suite(patterns: str | None = None, pass_: str = "forward") -> list[Layer]:
    """The layers of the pass whose name or family matches one of the comma-separated globs, in the suite's order.

    Without globs, all but those too slow for the pass. Gradients are those of zero padding: peers have no others in
    one call.
    """
    kind, path = (Layer, "layers.csv") if pass_ != "transposed" else (TransposedLayer, "transposed.csv")
    suite = read_suite(FOLDER / path, kind)
    if pass_ in GRADIENTS:
        suite = [replace(layer, padding_mode="zeros") for layer in suite]
    if patterns is None:
        return [layer for layer in suite if pass_ not in GRADIENTS or layer.family not in SLOW_GRADIENTS]
    globs = [glob.strip() for glob in patterns.split(",")]
    for glob in globs:
        if not any(fnmatchcase(layer.name, glob) or fnmatchcase(layer.family, glob) for layer in suite):
            families = ", ".join(dict.fromkeys(layer.family for layer in suite))
            raise SystemExit(f"no layer or family matches {glob!r}; families: {families}; layers: see {FOLDER / path}")
    return [x for x in suite if any(fnmatchcase(x.name, glob) or fnmatchcase(x.family, glob) for glob in globs)]
