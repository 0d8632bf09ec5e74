"""The compiled core: arguments in their normal form, positional only.

`functional.py` and `module.py` bring what a user wrote into this form; every check of a value
(ranges, shapes, dtypes, overlap) is made by the core, so that both doors give the same errors.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int] | Literal["valid", "same", "same_upper", "same_lower"] | str
"""(top, bottom, left, right), or a name."""

def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    padding_mode: str,
    out: Array | None,
    algorithm: str,
    /,
) -> Array: ...
def conv2d_input(
    input_size: tuple[int, ...],
    weight: Array,
    grad_output: Array,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    padding_mode: str,
    out: Array | None,
    algorithm: str,
    /,
) -> Array: ...
def conv2d_weight(
    input: Array,
    weight_size: tuple[int, ...],
    grad_output: Array,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    padding_mode: str,
    out: Array | None,
    algorithm: str,
    /,
) -> Array: ...
def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    groups: int,
    dilation: Pair,
    out: Array | None,
    algorithm: str,
    /,
) -> Array:
    """`padding` in its form of four ints."""

class FrozenConv2d:
    """Weights packed once for `conv2d`; keeps `weight` and `bias`, which must not change while it lives."""

    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        padding_mode: str,
        /,
    ) -> None: ...
    def run(self, input: Array, out: Array | None = None, algorithm: str = "auto", /) -> Array: ...

def explain(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    has_bias: bool,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    padding_mode: str,
    dtype: np.dtype[Any],
    algorithm: str,
    frozen: bool,
    pass_: str,
    /,
) -> dict[str, Any]:
    """`pass_`: 'forward', 'input_gradient' or 'weight_gradient' of the problem.

    Keys: pass, problem (one line), output_shape, algorithm, kernel, isa, threads, blocking (dict of str to int),
    workspace_bytes, packed_bytes, accuracy, rejected (dict: algorithm -> reason)."""

def get_num_threads() -> int: ...
def set_num_threads(n: int, /) -> None: ...
def algorithms() -> list[str]:
    """Names in order of priority."""

def isas() -> list[str]:
    """Instruction sets this machine can run, the best last."""

def get_isa() -> str: ...
def set_isa(name: str, /) -> None:
    """For tests: make `name` the instruction set of all later calls."""

def config() -> dict[str, Any]:
    """Keys: version, isa, isas, cpu, cores, threads, cache_bytes (dict: l1d, l2, l3), compiler, build_type,
    algorithms."""

def fma_peak(dtype: np.dtype[Any], seconds: float, /) -> float:
    """Measured multiply-add peak of one core for the current instruction set, in GFLOP/s (an FMA is two)."""
