"""The suite: the rows of layers.csv as `Layer`, their data, and the float64 results that contestants must match."""

import csv
import zlib
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SUITE = Path(__file__).with_name("layers.csv")
NUMPY_PAD_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


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

    def data(self, dtype: np.dtype[Any]) -> tuple[Array, Array, Array]:
        """Input N(0, 1), weight N(0, 1/fan_in), bias N(0, 1); the same in every run."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        scale = prod(self.weight_shape[1:]) ** -0.5
        weight = rng.standard_normal(self.weight_shape) * scale
        arrays = rng.standard_normal(self.input_shape), weight, rng.standard_normal(self.out_channels)
        return arrays[0].astype(dtype), arrays[1].astype(dtype), arrays[2].astype(dtype)


def parse(row: dict[str, str]) -> Layer:
    values: dict[str, Any] = {x.name: int(row[x.name]) if x.type is int else row[x.name] for x in fields(Layer)}
    return Layer(**values)


def load_suite(patterns: str = "*") -> list[Layer]:
    """The layers whose name or family matches one of the comma-separated globs, in the order of the suite."""
    with SUITE.open(newline="") as file:
        suite = [parse(row) for row in csv.DictReader(file)]
    globs = [glob.strip() for glob in patterns.split(",")]
    for glob in globs:
        if not any(fnmatchcase(layer.name, glob) or fnmatchcase(layer.family, glob) for layer in suite):
            families = ", ".join(dict.fromkeys(layer.family for layer in suite))
            raise SystemExit(f"no layer or family matches {glob!r}; families: {families}; layers: see {SUITE}")
    return [x for x in suite if any(fnmatchcase(x.name, glob) or fnmatchcase(x.family, glob) for glob in globs)]


def reference(layer: Layer, x: Array, weight: Array, bias: Array) -> Array:
    """The layer in float64, of finite data: a matrix product for each kernel tap (a scaled copy where depthwise)."""
    batch, _, out_h, out_w = layer.output_shape
    pads = [(0, 0), (0, 0), (layer.pad_h,) * 2, (layer.pad_w,) * 2]
    padded = np.pad(x.astype(np.float64), pads, mode=NUMPY_PAD_MODES[layer.padding_mode])  # type: ignore[call-overload]
    padded = padded.reshape(batch, layer.groups, -1, *padded.shape[2:])
    taps = weight.astype(np.float64).reshape(layer.groups, -1, *layer.weight_shape[1:])
    product = np.multiply if padded.shape[2] == taps.shape[1] == 1 else np.matmul
    y = np.zeros((batch, *taps.shape[:2], out_h * out_w))
    for i in range(layer.kernel_h):
        for j in range(layer.kernel_w):
            rows = slice(i * layer.dilation_h, i * layer.dilation_h + (out_h - 1) * layer.stride_h + 1, layer.stride_h)
            cols = slice(j * layer.dilation_w, j * layer.dilation_w + (out_w - 1) * layer.stride_w + 1, layer.stride_w)
            y += product(taps[..., i, j], padded[..., rows, cols].reshape(batch, layer.groups, -1, out_h * out_w))
    return y.reshape(layer.output_shape) + bias.astype(np.float64)[:, None, None]


def relative_error(y: Array, y64: Array) -> float:
    """max|y - y64| / max|y64|; infinite where the shapes differ or a value is not finite."""
    if y.shape != y64.shape or not np.isfinite(y).all():
        return float("inf")
    return float(np.abs(y - y64).max() / np.abs(y64).max())
