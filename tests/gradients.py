"""The two gradient passes of a case: their operands, what is expected of them, and every way to compute them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import reference
import tileconv as tc
from cases import DTYPES, Array, Case
from checks import Run, assert_accurate, core_options, plan_or_refusal
from tileconv import _core

PASSES = ("input_gradient", "weight_gradient")


class Operands(NamedTuple):
    """Input, weight and gradient of the output; a pass takes two of them and makes a gradient of the third."""

    x: Array
    w: Array
    g: Array

    def given(self, pass_: str) -> tuple[Array, Array]:
        """The arrays the pass reads."""
        return (self.w, self.g) if pass_ == "input_gradient" else (self.x, self.g)

    def shape(self, pass_: str) -> tuple[int, ...]:
        """The shape of its result."""
        return (self.x if pass_ == "input_gradient" else self.w).shape

    def expected(self, pass_: str, options: dict[str, Any]) -> Array:
        x, w, g = self
        if pass_ == "input_gradient":
            return reference.conv2d_input(x.shape, w, g, **options)
        return reference.conv2d_weight(x, w.shape, g, **options)

    def public(self, pass_: str, **keywords: Any) -> Array:
        """By the public function."""
        x, w, g = self
        if pass_ == "input_gradient":
            return tc.grad.conv2d_input(x.shape, w, g, **keywords)
        return tc.grad.conv2d_weight(x, w.shape, g, **keywords)

    def core(self, pass_: str, options: tuple[Any, ...], out: Array | None, algorithm: str) -> Array:
        """By the core, with its normal form of the options."""
        x, w, g = self
        if pass_ == "input_gradient":
            return _core.conv2d_input(x.shape, w, g, *options, out, algorithm)
        return _core.conv2d_weight(x, w.shape, g, *options, out, algorithm)


def output_shape(case: Case) -> tuple[int, ...]:
    pads = reference.sides(case.options["padding"], (case.in_h, case.in_w), case.kernel, case.stride, case.dilation)
    size = map(reference.output_size, (case.in_h, case.in_w), pads, case.kernel, case.stride, case.dilation)
    return case.batch, case.out_channels, *size


def normals(case: Case, seed: int = 0) -> Operands:
    """N(0, 1) but for the weight of N(0, 1 / fan_in)."""
    g = np.random.default_rng(seed + 1000).standard_normal(output_shape(case)).astype(DTYPES[case.dtype])
    return Operands(*case.normals(seed)[:2], g)


def integers(case: Case, seed: int = 0) -> Operands:
    """Integers of -4..4, whose sums float32 holds exactly."""
    shape = output_shape(case)
    assert 16 * int(np.prod(shape)) < 2**26
    g = np.random.default_rng(seed + 1000).integers(-4, 5, shape).astype(DTYPES[case.dtype])
    return Operands(*case.integers(seed)[:2], g)


def gradient_runs(
    case: Case, pass_: str, operands: Operands, algorithms: Sequence[str] = tuple(_core.algorithms())
) -> Iterator[tuple[str, tc.Explanation, Run]]:
    """(label, plan, run) of every algorithm that supports the pass; `run(out=None)` computes.

    'auto' is one of them; the public functions, which default to it, are tested by themselves.
    """
    for algorithm in algorithms:
        if (found := plan_or_refusal(case, algorithm, pass_=pass_)) is None:
            continue

        def run(out: Array | None = None, algorithm: str = algorithm) -> Array:
            return operands.core(pass_, core_options(case), out, algorithm)

        yield f"{case} | {pass_} by {algorithm} on {found.isa}", found, run


def assert_every_input_gradient(case: Case, algorithm: str) -> None:
    """Normal values, into an array prefilled with NaN, come out accurate."""
    operands = normals(case)
    expected = operands.expected("input_gradient", case.options)
    found = list(gradient_runs(case, "input_gradient", operands, [algorithm]))
    assert found, f"no plan for {case}"
    for label, _, run in found:
        assert_accurate(run(np.full(expected.shape, np.nan, operands.x.dtype)), expected, label)
