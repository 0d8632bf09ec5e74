"""Seven products of blocks for eight: every uneven half, and values that spoil the sums of a tile."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest

import gradients
import reference
import tileconv as tc
from cases import DTYPES, MODES, Case
from checks import assert_accurate, assert_every_run, assert_exact, assert_same_bits, plan, runs
from layouts import LAYOUTS, assert_layout_means_nothing

MOST_PIXELS = 224
"""Of a tile, a row of pixels or several whole ones."""


@pytest.mark.parametrize("dtype", DTYPES)
def test_halves_of_channels(dtype: str, isa: str) -> None:
    """Out channels around every count of vectors and panels, in channels odd and even, around the chunks of a sum."""
    out_channels = (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 65, 97, 130)
    for ins, outs in [*product((1, 2, 5), out_channels), *product((255, 256, 257, 259, 511, 512, 513, 515), (33, 100))]:
        case = Case("channels", ins, 3, 9, outs, (1, 1), bias=True, dtype=dtype)
        assert_every_run(case, ["strassen"], (3, 9), ins + outs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_halves_of_pixels(dtype: str, isa: str) -> None:
    """Tiles of every count of pixels up to two vectors and more; of several rows, of a part of one.

    Of a few out channels, and of so many that the pixels are packed.
    """
    sizes = [*product((2, 3), range(1, 20)), (5, 7), (14, 14), (7, 7), (15, 16), (9, 56), (3, 225), (2, 500), (33, 13)]
    several = [(31, 8), (127, 2), (2, 253), (9, 56)]  # tiles of unequal heights
    for outs, (height, width) in [*product((70, 1000), sizes), *product((4000,), several)]:
        for ins in (6, 8):  # an odd count of a group is staged, an even one read in place
            case = Case("pixels", ins, height, width, outs, (1, 1), groups=2, bias=True, batch=2, dtype=dtype)
            assert_every_run(case, ["strassen"], (height, width), height * width)


@pytest.mark.parametrize("mode", MODES)
def test_strides_and_padding(mode: str, isa: str) -> None:
    for stride, padding in product(((1, 1), (2, 1), (1, 3), (2, 2)), ((0, 0, 0, 0), (1, 2, 2, 1))):
        case = Case("strided", 9, 31, 29, 40, (1, 1), stride, padding, padding_mode=mode)
        output = [-(-(n + sum(p)) // s) for n, p, s in zip((31, 29), (padding[:2], padding[2:]), stride)]
        assert_every_run(case, ["strassen"], (output[0], output[1]), sum(stride))


@pytest.mark.parametrize(("kernel", "stride"), [((2, 2), (2, 2)), ((4, 3), (4, 5)), ((16, 16), (16, 16))], ids=str)
def test_patches(kernel: tuple[int, int], stride: tuple[int, int], isa: str) -> None:
    case = Case("patches", 3, 7 * stride[0], 9 * stride[1] + 1, 50, kernel, stride, bias=True)
    assert_every_run(case, ["strassen"], (7, 9), kernel[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_of_every_layout(layout: str, isa: str) -> None:
    for ins, size, stride in product((33, 34), ((17, 19), (3, 300)), ((1, 1), (2, 2))):
        case = Case("layouts", ins, *size, 70, (1, 1), stride)
        x, w, _ = case.normals()
        x[0, 1, 2, 3] = np.nan
        assert_layout_means_nothing(case, x, w, None, "strassen", layout)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("outs", [250, 2000])
def test_bits_do_not_depend_on_batch_or_threads(outs: int, threads: int, isa: str) -> None:
    """Beside values that are not finite too: what is computed again is told by the values alone."""
    case = Case("bits", 70, 23, 70, outs, (1, 1), batch=3)
    x, w, _ = case.normals()
    x[1, 11, 9, 33], x[2, 0, 22, 0], x[0, 5, 21, 69] = np.nan, np.inf, np.nan
    w[20, 3] = 3e38
    layer = partial(tc.conv2d, weight=w, algorithm="strassen")
    tc.set_num_threads(1)
    expected = layer(x)
    tc.set_num_threads(threads)
    assert_same_bits(layer(x), expected, f"{threads} threads")
    for n in range(3):
        assert_same_bits(layer(x[n]), expected[n], f"image {n}, {threads} threads")
    small = np.ascontiguousarray(x[:, :, :14, :14])  # of a tile, whose panels are shared
    whole = layer(small)
    for n in range(3):
        assert_same_bits(layer(small[n]), whole[n], f"small image {n}, {threads} threads")


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30])
def test_values_that_spoil_sums_show_where_they_are_read(value: float, isa: str) -> None:
    """In each block of the input, and among the weights."""
    case = Case("spoilt", 34, 9, 11, 70, (1, 1))
    clean, w, b = case.normals()
    w = np.clip(w, -0.9, 0.9)
    for channel, row, column in product((0, 33), (0, 8), (0, 10)):
        x = clean.copy()
        x[0, channel, row, column] = value
        expected = reference.conv2d(x, w, b, **case.options)
        for label, _, run in runs(case, w, b, ["strassen"]):
            assert_accurate(run(x), expected, f"{label}, {value}")
    for out, channel in product((0, 69), (0, 33)):
        spoilt = w.copy()
        spoilt[out, channel] = value
        tiny = clean * 1e-3
        expected = reference.conv2d(tiny, spoilt, b, **case.options)
        for label, _, run in runs(case, spoilt, b, ["strassen"]):
            assert_accurate(run(tiny), expected, f"{label}, weight {value}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_input_gradients(dtype: str, isa: str) -> None:
    for ins, outs, size in [(33, 70, (15, 17)), (70, 33, (2, 9)), (5, 513, (14, 14)), (40, 1, (3, 3))]:
        case = Case("gradient", ins, *size, outs, (1, 1), batch=2, dtype=dtype)
        gradients.assert_every_input_gradient(case, "strassen")


def test_small_integers_of_many_channels_are_exact(isa: str) -> None:
    rng = np.random.default_rng(1)
    case = Case("integers", 600, 15, 15, 100, (1, 1))
    x, w = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((1, 600, 15, 15), (100, 600, 1, 1)))
    for label, _, run in runs(case, w, None, ["strassen"]):
        assert_exact(run(x), reference.conv2d(x, w, **case.options), label)


def test_rows_are_left_to_sums_that_do_not_pair_pixels() -> None:
    """A batch of single pixels is computed as one row."""
    with pytest.raises(ValueError, match="single row"):
        plan(Case("row", 8, 1, 20, 8, (1, 1)), "strassen")
    for batch in (1, 2, 50):
        found = tc.explain((batch, 512, 1, 1), (512, 512, 1, 1), frozen=True)
        assert found.algorithm == "shift_gemm"


@pytest.mark.parametrize("algorithm", ["auto", "strassen"])
def test_workspace_is_bounded(algorithm: str) -> None:
    for ins, outs, size in [(64, 64, 900), (4096, 64, 31), (64, 4096, 31), (2048, 2048, 7)]:
        few, many = (
            tc.explain((batch, ins, size, size), (outs, ins, 1, 1), algorithm=algorithm).workspace_bytes
            for batch in (1, 9)
        )
        assert few == many
        assert few <= 4 << 20


def test_the_choice_for_patches_depends_on_the_problem_alone() -> None:
    """Not on freezing, nor on memory layout: there is a plan for patches and one for overlapping kernels."""
    rng = np.random.default_rng(2)
    shapes = product((8, 32, 96), (64, 192, 256), (2, 3, 4), (11, 24))
    for ins, outs, k, size in shapes:
        shape, weight = (1, ins, size * k // 2, size * k // 2), (outs, ins, k, k)
        found = {tc.explain(shape, weight, stride=k, frozen=frozen).algorithm for frozen in (False, True)}
        assert len(found) == 1, f"{shape} {weight}: {found}"
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 32, 22, 22), (256, 32, 2, 2)))
    expected = tc.conv2d(x, w, stride=2)
    strided = np.empty((1, 256, 11, 30), np.float32)[..., 3:25:2]
    assert_same_bits(tc.conv2d(x, w, stride=2, out=strided), expected, "strided out")
