"""Winograd's tiles: every unfinished one, in every mode and dilation, and values too large for its transforms."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product, repeat

import numpy as np
import pytest

import gradients
import reference
import tileconv as tc
from cases import DTYPES, MODES, Case
from checks import assert_accurate, assert_every_run, plan, runs
from layouts import LAYOUTS, assert_layout_means_nothing

KERNELS = [kernel for taps in range(2, 6) for kernel in ((taps, taps), (taps, 1), (1, taps))]
"""A window of 6 gives 7 - taps outputs along an axis. One with a single tap is not transformed."""

LONG_KERNELS = [(1, 6), (7, 1), (7, 7), (10, 4)]
"""Longer ones are sums of two or three pieces of four taps, three outputs a window."""

STRIDED_KERNELS = [
    ((3, 3), (2, 2)),
    ((4, 4), (2, 2)),
    ((7, 7), (2, 2)),
    ((9, 9), (4, 4)),
    ((8, 7), (3, 3)),
    ((1, 3), (3, 2)),
    ((4, 2), (2, 1)),
    ((3, 13), (1, 5)),
    ((2, 4), (2, 2)),
    ((4, 2), (2, 2)),
    ((13, 13), (2, 2)),
    ((15, 15), (2, 2)),
]
"""With a stride, the taps of each remainder by it are a kernel of their own, with windows of their own."""

DILATIONS = [(1, 1), (2, 1), (1, 3), (3, 2)]


FEW_CHANNELS, SOME_CHANNELS, MANY_CHANNELS = (3, 5), (16, 17), (33, 35)
"""With many, tiles that lack outputs leave positions out, with some, those that lack rows of outputs."""


CHANNELS_AND_MODES = [
    *((FEW_CHANNELS, mode) for mode in MODES),
    (SOME_CHANNELS, "zeros"),
    (MANY_CHANNELS, "zeros"),
    (MANY_CHANNELS, "circular"),
]


def output_sizes(taps: int, stride: int, dilation: int) -> range:
    """Every remainder by the tile, for each phase of the dilation too."""
    common = math.gcd(stride, dilation)
    taps_of_a_remainder = -(-taps // min(taps, stride // common))
    tile = 1 if taps_of_a_remainder == 1 else 7 - min(taps_of_a_remainder, 4 if taps_of_a_remainder > 5 else 5)
    lowest = 1 + max(0, -(-(5 - (taps - 1) * dilation) // stride))  # inputs have room for every mode's padding
    return range(lowest, lowest + tile * (dilation // common) + 1)


def unfinished_tiles(
    kernels: Iterable[tuple[tuple[int, int], tuple[int, int]]],
    channels: tuple[int, int],
    mode: str,
    dilation: tuple[int, int],
) -> Iterator[tuple[Case, tuple[int, int]]]:
    """Kernels and their strides, heights and widths of the output."""
    in_channels, out_channels = channels
    for kernel, stride in kernels:
        sizes = [output_sizes(*axis) for axis in zip(kernel, stride, dilation)]
        for outputs in product(*sizes):
            size = [(n - 1) * s + (k - 1) * d - 2 for n, k, s, d in zip(outputs, kernel, stride, dilation)]
            shape = in_channels, *size, out_channels, kernel, stride, (1, 2, 1, 2), dilation
            yield Case("tile", *shape, padding_mode=mode, bias=True), outputs


@pytest.mark.parametrize("dilation", DILATIONS, ids=str)
@pytest.mark.parametrize(("channels", "mode"), CHANNELS_AND_MODES, ids=str)
def test_every_unfinished_tile(channels: tuple[int, int], mode: str, dilation: tuple[int, int], isa: str) -> None:
    kinds = set()
    kernels = KERNELS + LONG_KERNELS if channels == FEW_CHANNELS else KERNELS
    for case, (height, width) in unfinished_tiles(zip(kernels, repeat((1, 1))), channels, mode, dilation):
        assert_every_run(case, ["winograd"], (height, width), height + 31 * width)
        kinds.add(plan(case, "winograd").blocking["kinds_of_tiles"])
    expected = {FEW_CHANNELS: range(1, 2), SOME_CHANNELS: range(2, 4), MANY_CHANNELS: range(4, 10)}
    assert max(kinds) in expected[channels]


@pytest.mark.parametrize(
    ("kernels", "dilation"),
    [(STRIDED_KERNELS, (1, 1)), ([((3, 3), (2, 2))], (3, 3)), ([((3, 3), (4, 2))], (2, 1))],
    ids=["adjacent", "dilated", "shared"],
)
@pytest.mark.parametrize(("channels", "mode"), CHANNELS_AND_MODES, ids=str)
def test_every_unfinished_tile_of_a_stride(
    channels: tuple[int, int],
    mode: str,
    kernels: list[tuple[tuple[int, int], tuple[int, int]]],
    dilation: tuple[int, int],
    isa: str,
) -> None:
    for case, (height, width) in unfinished_tiles(kernels, channels, mode, dilation):
        assert_every_run(case, ["winograd"], (height, width), height + 31 * width)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kernel", "stride"), STRIDED_KERNELS, ids=str)
def test_pixels_that_no_output_reads_do_not_show(
    kernel: tuple[int, int], stride: tuple[int, int], dtype: str, isa: str
) -> None:
    """Not even in rounding errors, of tiles that lack outputs and of few channels, whose tiles are computed whole."""
    for (in_channels, out_channels), size in product((FEW_CHANNELS, MANY_CHANNELS), range(2, 9)):
        shape = [(size - 1) * s + k + min(s - 1, 2) for s, k in zip(stride, kernel)]
        case = Case("unread", in_channels, *shape, out_channels, kernel, stride, dtype=dtype)
        x, w, _ = case.normals()
        read = tc.grad.conv2d_input(x.shape, np.ones_like(w), np.ones(plan(case).output_shape, x.dtype), stride=stride)
        x[read == 0] = 1e30
        expected = reference.conv2d(np.where(read == 0, 0, x), w, **case.options)
        for label, _, run in runs(case, w, None, ["winograd"]):
            assert_accurate(run(x), expected, f"{label}, {size}")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strided_inputs_of_every_layout(layout: str, isa: str) -> None:
    """The same bits, of a group with planes of several segments in a vector too."""
    for channels, kernel in product((6, 40), ((3, 3), (7, 7))):
        case = Case("layouts", channels, 29, 45, 34, kernel, (2, 2), (1, 2, 2, 1), groups=2)
        x, w, _ = case.normals()
        x[0, 1, 7, 9] = np.nan
        assert_layout_means_nothing(case, x, w, None, "winograd", layout)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (((1, 2000, 99, 99), (8, 2000, 7, 7), 4), "the stride makes more windows than the workspace holds"),
        (((1, 3, 99, 99), (8, 3, 32, 32), 16), "the stride makes more windows than the workspace holds"),
        (((1, 3, 99, 99), (8, 3, 3, 3), 3), "the stride leaves kernels"),
        (((1, 3, 99, 99), (8, 3, 6, 3), 2), "the stride leaves kernels"),
    ],
)
def test_strides_that_are_refused(
    problem: tuple[tuple[int, int, int, int], tuple[int, int, int, int], int], reason: str, isa: str
) -> None:
    input_shape, weight_shape, stride = problem
    with pytest.raises(ValueError, match=reason):
        tc.explain(input_shape, weight_shape, stride=stride, algorithm="winograd")


@pytest.mark.parametrize("dilation", DILATIONS, ids=str)
@pytest.mark.parametrize(("channels", "mode"), CHANNELS_AND_MODES, ids=str)
def test_weight_gradients_of_every_unfinished_tile(
    channels: tuple[int, int], mode: str, dilation: tuple[int, int], isa: str
) -> None:
    for case, (height, width) in unfinished_tiles(zip(KERNELS, repeat((1, 1))), channels, mode, dilation):
        case = replace(case, batch=2, bias=False)
        assert_weight_gradient(case, gradients.normals(case, height + 31 * width))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [*zip(KERNELS, repeat(1)), ((3, 3), 5), ((1, 3), 7)], ids=str)
def test_weight_gradients_of_many_strips(
    kernel: tuple[int, int], dilation: int, batch: int, dtype: str, isa: str
) -> None:
    """Blocks of channels, parts of the panels, strips of one image and of several; values not finite in any of them."""
    padding = kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2
    case = Case("strips", 70, 45, 83, 99, kernel, (1, 1), padding, (dilation, dilation), batch=batch, dtype=dtype)
    operands = gradients.normals(case)
    assert_weight_gradient(case, operands)
    operands.x[-1, 69, 20, 81] = np.nan
    operands.g[0, 98, 30, 2] = 5e37
    assert_weight_gradient(case, operands)


def assert_weight_gradient(case: Case, operands: gradients.Operands) -> None:
    expected = operands.expected("weight_gradient", case.options)
    for label, _, run in gradients.gradient_runs(case, "weight_gradient", operands, ["winograd"]):
        out = np.full(expected.shape, np.nan, operands.x.dtype)
        assert_accurate(run(out), expected, label)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [((7, 7), 1, 1), ((1, 9), 1, 1), ((8, 1), 1, 2), ((6, 6), 1, 3), ((3, 3), 2, 1), ((13, 13), 2, 1), ((7, 7), 3, 1)],
    ids=str,
)
def test_pieces_of_many_strips(kernel: tuple[int, int], stride: int, dilation: int, dtype: str, isa: str) -> None:
    """A piece reads windows of the next band, which the strip below has too; values not finite between two strips."""
    padding = kernel[0] // 2, kernel[0] // 2, kernel[1] // 2, kernel[1] // 2
    strides, dilations = (stride, stride), (dilation, dilation)
    case = Case("pieces", 70, 45, 83, 37, kernel, strides, padding, dilations, batch=2, dtype=dtype)
    x, w, b = case.normals()
    for value in (None, np.inf):
        if value is not None:
            x[1, 69, 20:22, 81] = x[0, 0, 44, 3] = value
        expected = reference.conv2d(x, w, b, **case.options)
        for label, found, run in runs(case, w, b, ["winograd"]):
            assert " times F(" in found.kernel
            assert_accurate(run(x), expected, label)
    if stride > 1:
        return
    g = gradients.normals(case)
    for label, _, run in gradients.gradient_runs(case, "input_gradient", g, ["winograd"]):
        out = np.full(x.shape, np.nan, x.dtype)
        assert_accurate(run(out), g.expected("input_gradient", case.options), label)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("taps", "stride"), [(3, 2), (4, 2), (5, 2), (7, 3)])
def test_strided_input_gradients(taps: int, stride: int, mode: str, isa: str) -> None:
    """Residues of several taps along both axes, along one, along none: all in one gradient."""
    padding, strides = (1, 2, 2, 1), (stride, stride)
    case = Case("strided", 64, 83, 86, 64, (taps, taps), strides, padding, padding_mode=mode)
    operands = gradients.normals(case)
    for value in (None, np.nan):
        if value is not None:
            operands.g[0, 5, 7, 11] = operands.g[0, 63, 0, 0] = value
        expected = operands.expected("input_gradient", case.options)
        for label, found, run in gradients.gradient_runs(case, "input_gradient", operands, ["winograd"]):
            assert re.search(r"F\(\dx\d, \dx\d\)", found.kernel), f"{label}: {found.kernel}"
            out = np.full(expected.shape, np.nan, operands.x.dtype)
            assert_accurate(run(out), expected, label)


def test_unfinished_tiles_of_strided_input_gradients(isa: str) -> None:
    """The residues of a stride that share their windows, in images of every remainder by the tile."""
    for height, width in product(range(13, 21), (14, 21)):
        case = Case("residues", MANY_CHANNELS[0], height, width, MANY_CHANNELS[1], (4, 4), (2, 2), (1, 1, 1, 1))
        gradients.assert_every_input_gradient(case, "winograd")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 63, 64, 65, 128, 130])
def test_chunks_of_the_sum(channels: int, dtype: str, isa: str) -> None:
    case = Case("chunks", channels, 6, 9, 33, (3, 3), padding=(1, 1, 1, 1), dtype=dtype)
    x, w, _ = case.normals()
    for label, _, run in runs(case, w, None, ["winograd"]):
        assert_accurate(run(x), reference.conv2d(x, w, **case.options), label)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(1, 1), (2, 1), (2, 2), (1, 3), (4, 4), (3, 5), (7, 8)], ids=str)
@pytest.mark.parametrize("groups", [2, 5, 12, 19])
def test_groups_that_share_a_vector(groups: int, channels: tuple[int, int], dtype: str, isa: str) -> None:
    """In bundles of which the last may be smaller, with the same bits in every layout; values not finite in one."""
    in_channels, out_channels = (groups * n for n in channels)
    case = Case("bundle", in_channels, 13, 30, out_channels, (3, 3), padding=(1, 1, 1, 1), groups=groups, dtype=dtype)
    case = replace(case, batch=2, bias=True)
    x, w, b = case.normals()
    lanes = {"baseline": 16, "avx2": 32, "avx512": 64}[isa] // x.itemsize
    together = math.ceil(groups / math.ceil(groups / max(1, lanes // max(channels))))
    for layout in LAYOUTS:
        assert_layout_means_nothing(case, x, w, b, "winograd", layout)
    for channel, value in ((0, x[1, 0, 6, 3]), (in_channels // 2, np.nan), (in_channels - 1, -np.inf)):
        x[1, channel, 6, 3] = value
        expected = reference.conv2d(x, w, b, **case.options)
        for label, found, run in runs(case, w, b, ["winograd"]):
            assert found.kernel.endswith(f" of {together} groups") == (together > 1), f"{label}: {found.kernel}"
            assert_accurate(run(x, np.full(expected.shape, np.nan, x.dtype)), expected, label)


def test_a_large_bias_costs_no_accuracy(isa: str) -> None:
    """It takes part in the sums of the output transform."""
    case = Case("bias", MANY_CHANNELS[0], 17, 18, MANY_CHANNELS[1], (3, 3), padding=(1, 1, 1, 1), bias=True)
    x, w, b = case.normals()
    b = b + b.dtype.type(1e4)
    actual = tc.conv2d(x, w, b, **case.options, algorithm="winograd")
    assert_accurate(actual, reference.conv2d(x, w, b, **case.options), "bias")


def test_large_finite_values_stay_finite(isa: str) -> None:
    """The transforms multiply values by up to 100, which may overflow where the direct sum does not."""
    case = Case("large", MANY_CHANNELS[0], 17, 18, MANY_CHANNELS[1], (3, 3), padding=(1, 1, 1, 1))
    x, w, _ = case.normals()
    for value, (row, column) in product((1e30, 1e37, 3e38, -3e38), ((5, 6), (16, 17), (15, 16))):
        x[0, 7] = 0
        x[0, 7, row, column] = value
        w[:, 7] = np.clip(w[:, 7], -0.9, 0.9)
        expected = reference.conv2d(x, w, **case.options)
        assert np.abs(expected).max() < np.finfo(np.float32).max
        for label, _, run in runs(case, w, None, ["winograd", "auto"]):
            assert_accurate(run(x), expected, f"{label}, {value:g}")


@pytest.mark.parametrize(("taps", "stride"), [(3, 1), (7, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_beside_values_that_are_not_finite(threads: int, taps: int, stride: int, isa: str) -> None:
    """What is computed again is told by the values alone: not by threads, batch, place in it or memory layout."""
    case = Case("bits", 40, 23, 70, 50, (taps, taps), padding=(1, 1, 1, 1), batch=3)
    x, w, _ = case.normals()
    x[1, 11, 9, 33], x[2, 0, 22, 0], x[0, 5, 21, 69] = np.nan, np.inf, np.nan
    w[20, 3, 1, 1] = 3e38
    tc.set_num_threads(1)
    layer = partial(tc.conv2d, weight=w, stride=stride, padding=1, algorithm="winograd")
    expected = layer(x)
    tc.set_num_threads(threads)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for input in (x, nhwc):
        np.testing.assert_array_equal(layer(input), expected)
    for n in range(3):
        np.testing.assert_array_equal(layer(x[n]), expected[n])


@pytest.mark.parametrize(("channels", "taps", "stride"), [(64, 3, 1), (256, 3, 1), (150, 7, 1), (70, 3, 2), (24, 7, 2)])
def test_bits_of_frozen_layers_beside_values_that_are_not_finite(
    channels: int, taps: int, stride: int, isa: str
) -> None:
    case = Case("frozen", channels, 9, 301, channels, (taps, taps), (stride, stride), (1, 1, 1, 1))
    x, w, _ = case.normals()
    x[0, 3, 4, 0] = x[0, 1, 8, 300] = np.nan
    found = [run(x) for _, _, run in runs(case, w, None, ["winograd"])]
    assert len(found) > 1
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    ("kernel", "dilation"), [((1, 3), (2**62, 2)), ((3, 1), (2, 10**9)), ((1, 5), (40, 1))], ids=str
)
def test_dilation_of_a_single_tap_means_nothing(kernel: tuple[int, int], dilation: tuple[int, int], isa: str) -> None:
    case = Case("single", 20, 31, 33, 18, kernel, padding=(2, 2, 2, 2), dilation=dilation)
    plain = replace(case, dilation=tuple(1 if taps == 1 else d for taps, d in zip(kernel, dilation)))
    x, w, _ = case.normals()
    expected = reference.conv2d(x, w, **plain.options)
    found = list(runs(case, w, None, ["winograd"]))
    assert found
    for label, _, run in found:
        assert_accurate(run(x), expected, label)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_plans_of_large_batches_are_small(threads: int) -> None:
    """That of so many bands could not be kept as a list of them."""
    tc.set_num_threads(threads)
    shapes = (2**40, 64, 20, 20), (192, 64, 3, 3)
    assert tc.explain(*shapes, padding=1, algorithm="winograd").workspace_bytes < 16 << 20
