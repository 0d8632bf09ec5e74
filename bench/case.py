"""What a contestant runs: a pass of a layer, with its data."""

import zlib
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from bench.layers import Array, Layer


@dataclass(frozen=True)
class Case:
    layer: Layer
    pass_: str
    """One of `PASSES`."""
    x: Array
    weight: Array
    bias: Array
    grad_output: Array
    """For the gradients."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.x.dtype

    @property
    def image(self) -> Array:
        """What the pass reads: the input, or in its place the gradient of the output."""
        return self.grad_output if self.pass_ == "input" else self.x


def make_case(layer: Layer, pass_: str, dtype: np.dtype[Any]) -> Case:
    """Images and bias N(0, 1), weight N(0, 1/fan_in); the same in every run."""
    rng = np.random.default_rng(zlib.crc32(layer.name.encode()))
    weight = rng.standard_normal(layer.weight_shape) * prod(layer.weight_shape[1:]) ** -0.5
    x, bias = rng.standard_normal(layer.input_shape), rng.standard_normal(layer.out_channels)
    grad_output = rng.standard_normal(layer.output_shape)
    return Case(layer, pass_, *(array.astype(dtype) for array in (x, weight, bias, grad_output)))
