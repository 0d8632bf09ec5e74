"""Dilations of half the image and more: phases of two pixels and of one, and values that spoil an image."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest

import gradients
import reference
import tileconv as tc
from cases import DTYPES, Case
from checks import assert_accurate, assert_every_run, assert_same_bits, plan, runs
from layouts import LAYOUTS, OUT_LAYOUTS, assert_layout_means_nothing, room


def pyramid(
    ins: int, outs: int, size: tuple[int, int], dilation: tuple[int, int], groups: int = 1, batch: int = 1, **more: str
) -> Case:
    (rows, columns), kernel = dilation, (3, 3)
    padding = rows, rows, columns, columns
    return Case("pyramid", ins, *size, outs, kernel, (1, 1), padding, dilation, groups, bias=True, batch=batch, **more)


@pytest.mark.parametrize("dtype", DTYPES)
def test_phases_of_two_pixels_and_of_one(dtype: str, isa: str) -> None:
    """From one pair along an axis to pairs alone; tiles of several rows and of parts of one."""
    for d, e in product((1, 2, 5), (1, 3, 17, 18)):
        for pairs_h, pairs_w in product({1, d // 2 + 1, d}, {1, e // 2 + 1, e}):
            size = d + pairs_h, e + pairs_w
            assert_every_run(pyramid(4, 10, size, (d, e), 2, 2, dtype=dtype), ["toeplitz"], size, d + e)
    for ins, outs, size, dilation in [
        (33, 70, (33, 33), (18, 18)),
        (130, 513, (9, 70), (6, 50)),
        (257, 40, (9, 12), (6, 8)),
        (700, 1, (5, 6), (4, 3)),
    ]:
        assert_every_run(pyramid(ins, outs, size, dilation, dtype=dtype), ["toeplitz"], size, ins)


def test_the_last_branch_of_a_pyramid_takes_it() -> None:
    assert tc.explain((1, 512, 33, 33), (256, 512, 3, 3), padding=18, dilation=18).algorithm == "toeplitz"
    with pytest.raises(ValueError, match="half the image"):
        plan(pyramid(8, 8, (33, 33), (16, 18)), "toeplitz")
    with pytest.raises(ValueError, match="half the image"):
        plan(pyramid(8, 8, (33, 33), (18, 33)), "toeplitz")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_of_every_layout(layout: str, isa: str) -> None:
    case = pyramid(20, 34, (9, 13), (6, 8))
    x, w, b = case.normals()
    assert_layout_means_nothing(case, x, w, b, "toeplitz", layout)


@pytest.mark.parametrize("layout", OUT_LAYOUTS)
def test_outputs_of_every_layout(layout: str, isa: str) -> None:
    case = pyramid(20, 34, (9, 13), (6, 8), batch=2)
    x, w, b = case.normals()
    expected = tc.conv2d(x, w, b, **case.options, algorithm="toeplitz")
    memory, out = room(expected.shape, expected.dtype, layout)
    memory[...] = np.nan
    out[...] = np.nan
    tc.conv2d(x, w, b, **case.options, algorithm="toeplitz", out=out)
    assert_same_bits(np.ascontiguousarray(out), expected, layout)


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_batch_or_threads(threads: int, isa: str) -> None:
    case = pyramid(70, 150, (23, 21), (12, 15), batch=3)
    x, w, b = case.normals()
    x[1, 11, 9, 3] = np.nan
    layer = partial(tc.conv2d, weight=w, bias=b, **case.options, algorithm="toeplitz")
    tc.set_num_threads(1)
    expected = layer(x)
    tc.set_num_threads(threads)
    assert_same_bits(layer(x), expected, f"{threads} threads")
    for n in range(3):
        assert_same_bits(layer(x[n]), expected[n], f"image {n}, {threads} threads")


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30])
def test_values_that_spoil_sums_show_where_they_are_read(value: float, isa: str) -> None:
    """Among the weights too: a product with the padding is one of zero and infinity."""
    case = pyramid(18, 20, (7, 9), (4, 8), batch=2)
    clean, w, b = case.normals()
    w = np.clip(w, -0.9, 0.9)
    for row, column in product((0, 3, 6), (0, 4, 8)):
        x = clean.copy()
        x[1, 5, row, column] = value
        expected = reference.conv2d(x, w, b, **case.options)
        for label, _, run in runs(case, w, b, ["toeplitz"]):
            assert_accurate(run(x), expected, f"{label}, {value}")
    for row, column in product(range(3), range(3)):
        spoilt = w.copy()
        spoilt[3, 5, row, column] = value
        tiny = clean * 1e-3
        expected = reference.conv2d(tiny, spoilt, b, **case.options)
        for label, _, run in runs(case, spoilt, b, ["toeplitz"]):
            assert_accurate(run(tiny), expected, f"{label}, weight {value}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_input_gradients(dtype: str, isa: str) -> None:
    for ins, outs, size, dilation in [
        (33, 70, (15, 17), (8, 16)),
        (70, 33, (2, 9), (1, 6)),
        (4, 8, (33, 33), (18, 18)),
    ]:
        case = pyramid(ins, outs, size, dilation, batch=2, dtype=dtype)
        gradients.assert_every_input_gradient(case, "toeplitz")


def test_workspace_is_bounded() -> None:
    for ins, outs, size, d in [(2048, 256, 33, 18), (512, 512, 65, 36), (4, 4, 400, 300), (70, 16, 1780, 1779)]:
        options = {"padding": (1, d), "dilation": (1, d), "algorithm": "toeplitz"}
        for dtype in ("float32", "float64"):
            found = tc.explain((1, ins, 2, size), (outs, ins, 3, 3), dtype=dtype, **options)
            assert found.workspace_bytes <= 4 << 20
    with pytest.raises(ValueError, match="workspace"):
        tc.explain((1, 20000, 5, 5), (64, 20000, 3, 3), padding=3, dilation=3, algorithm="toeplitz")


def test_transposed_convolutions_may_have_more_outputs(isa: str) -> None:
    rng = np.random.default_rng(4)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 70, 13, 13), (70, 80, 3, 3)))
    flipped = np.ascontiguousarray(w.transpose(1, 0, 2, 3)[..., ::-1, ::-1])
    for extra in (0, 1, 3):
        padding = (8, 8 + extra), (8, 8 + extra)
        expected = reference.conv2d(x, flipped, padding=padding, dilation=(8, 8))
        found = tc.conv_transpose2d(x, w, padding=8, dilation=8, output_padding=extra)
        assert_accurate(found, expected, f"output_padding {extra}")
