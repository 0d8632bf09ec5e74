"""Every case x algorithm x instruction set x dtype x (fresh or frozen weights) against the float64 reference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from operator import attrgetter

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import CASES, DTYPES, Array, Case
from checks import assert_accurate, assert_exact, is_exact, plan, runs

each_case = pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))


@cache
def problem(case: Case, values: str) -> tuple[Array, Array, Array | None, Array]:
    """Read-only operands and the expected output, kept for the other instruction sets."""
    x, w, b = case.integers() if values == "integers" else case.normals()
    for array in (x, w, b):
        if array is not None:
            array.flags.writeable = False
    return x, w, b, reference.conv2d(x, w, b, **case.options)


@each_case
def test_small_integers_are_exact(case: Case, isa: str) -> None:
    tried = set()
    for typed in (replace(case, dtype=name) for name in DTYPES):
        x, w, b, expected = problem(typed, "integers")
        for label, found, run in runs(typed, w, b):
            if not is_exact(found):
                continue
            tried.add(found.algorithm)
            out = np.full(expected.shape, np.nan, x.dtype)
            assert run(x, out) is out
            assert_exact(out, expected, label)
    assert "reference" in tried


@each_case
def test_normal_values_are_accurate(case: Case, isa: str) -> None:
    for typed in (replace(case, dtype=name) for name in DTYPES):
        x, w, b, expected = problem(typed, "normals")
        for label, _, run in runs(typed, w, b):
            y = run(x)
            assert (y.dtype, y.flags.c_contiguous, y.flags.writeable) == (x.dtype, True, True), label
            assert_accurate(y, expected, label)


@each_case
def test_planned_shape_and_forced_isa(case: Case, isa: str) -> None:
    found = plan(case)
    assert found.output_shape == problem(case, "integers")[3].shape
    assert found.isa == isa


def test_shift_gemm_supports_everything(isa: str) -> None:
    """The general algorithm refuses nothing, so that `auto` never falls back to plain loops for want of a kernel."""
    for case in CASES:
        assert is_exact(plan(case, "shift_gemm")), case


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("stride", "padding"), [((1, 1), (0, 0, 0, 0)), ((2, 1), (0, 0, 0, 0)), ((1, 2), (1, 2, 2, 1))]
)
def test_pointwise_layers_of_many_channels(
    stride: tuple[int, int], padding: tuple[int, int, int, int], dtype: str, isa: str
) -> None:
    """Sums so long that the pixels of a register tile are packed for it; images around the widths of the tiles."""
    sizes = [(1, 1), (2, 3), (3, 3), (4, 5), (7, 7), (6, 13), (9, 11), (14, 14), (5, 31)]
    for (height, width), ins in product(sizes, (330, 1100)):
        case = Case("many", ins, height, width, 600, (1, 1), stride, padding, groups=2, dtype=dtype)
        x, w, b = case.integers(ins + height * width)
        expected = reference.conv2d(x, w, b, **case.options)
        for label, found, run in runs(case, w, b, ["shift_gemm"]):
            assert_exact(run(x, np.full(expected.shape, np.nan, x.dtype)), expected, f"{label}, {found.kernel}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_pointwise_layers_of_planes_pages_apart(dtype: str, isa: str) -> None:
    """Lines of many tiles with and without a remainder, sums in one chunk and in several, rows that are adjacent in the
    output or not, out channels around the register tiles, groups, gradients of the input. Whether pixels are packed is
    a matter of the processor."""
    for height, width, ins, outs in product((1, 17), (256, 1024, 1031), (5, 33, 700), (7, 26)):
        groups = 2 if ins == 33 else 1
        case = Case("pages", ins * groups, height, width, outs * groups, (1, 1), groups=groups, dtype=dtype)
        x, w, b = case.integers(width + ins)
        expected = reference.conv2d(x, w, b, **case.options)
        for label, found, run in runs(case, w, b, ["shift_gemm"]):
            rows = np.full((*expected.shape[:3], width + 3), np.nan, x.dtype)
            for out in (np.full(expected.shape, np.nan, x.dtype), rows[..., :width]):
                assert_exact(run(x, out), expected, f"{label}, {found.kernel}")
            assert np.isnan(rows[..., width:]).all()
        if b is not None:
            x_grad = tc.grad.conv2d_input(x.shape, w, expected, groups=groups, algorithm="shift_gemm")
            want = reference.conv2d_input(x.shape, w, expected, **case.options)
            assert_exact(x_grad, want, f"{case}, gradient of the input")
