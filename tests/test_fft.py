"""Convolution by Fourier transforms: every cut of an image into pairs of tiles, and values that spoil a whole tile."""

from __future__ import annotations

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import DTYPES, MODES, Case
from checks import assert_accurate, assert_every_run
from layouts import LAYOUTS, assert_layout_means_nothing

SMALLEST = 32
"""Inputs of a tile along an axis."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_and_what_is_left_of_them(mode: str, dilation: tuple[int, int], dtype: str, isa: str) -> None:
    """One tile, two, three; full ones and others; several kernels for a plane."""
    kernel = (5, 4)
    tile = [SMALLEST - d * (k - 1) for k, d in zip(kernel, dilation)]
    for height, width in [(tile[0], tile[1]), (tile[0] + 1, 7), (9, 2 * tile[1] + 1), (2 * tile[0] - 1, tile[1] + 5)]:
        size = height + dilation[0] * 4 - 4, width + dilation[1] * 3 - 3
        case = Case(
            "tile", 2, *size, 4, kernel, (1, 1), (1, 3, 2, 1), dilation, 2, mode, bias=True, batch=2, dtype=dtype
        )
        assert_every_run(case, ["fft"], (height, width), height)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "kernel"), [(150, 31), (140, 63), (100, 99)])
def test_large_kernels_take_it_and_are_accurate(size: int, kernel: int, dtype: str, isa: str) -> None:
    case = Case("large", 1, size, size + 7, 1, (kernel, kernel - 2), padding=(kernel // 2,) * 4, dtype=dtype)
    x, w, _ = case.normals()
    assert tc.explain(x.shape, w.shape, dtype=x.dtype, **case.options).algorithm == "fft"
    limit = 1e-6 if dtype == "f32" else 1e-14
    expected = reference.conv2d(x, w, **case.options)
    assert np.abs(tc.conv2d(x, w, **case.options) - expected).max() <= limit * np.abs(expected).max()


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_values_that_are_not_finite_touch_their_receptive_field_alone(isa: str) -> None:
    case = Case("spoilt", 3, 60, 70, 3, (9, 9), padding=(4, 4, 4, 4), groups=3, batch=2)
    clean, w, _ = case.normals()
    whole = tc.conv2d(clean, w, **case.options, algorithm="fft")
    for value in (np.nan, np.inf, 3e38, -3e38):
        x = clean.copy()
        x[1, 2, 33, 41] = value
        expected = reference.conv2d(x, w, **case.options)
        assert np.isfinite(expected).sum() == expected.size - (0 if np.isfinite(value) else 81)
        actual = tc.conv2d(x, w, **case.options, algorithm="fft")
        assert_accurate(actual, expected, f"{value}")
        np.testing.assert_array_equal(actual[0], whole[0])
        np.testing.assert_array_equal(actual[1, :2], whole[1, :2])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_in_place_and_staged_have_the_same_bits(layout: str, dtype: str, isa: str) -> None:
    """Of tiles that lie in the image, at its edges, and, the first and the last column of them, beside it."""
    case = Case("layout", 2, 20, 41, 2, (5, 9), padding=(2, 2, 50, 47), groups=2, batch=2, bias=True, dtype=dtype)
    assert_layout_means_nothing(case, *case.normals(), "fft", layout)


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_batch_threads_or_layout(threads: int, isa: str) -> None:
    case = Case("bits", 2, 90, 75, 4, (11, 9), padding=(5, 5, 4, 4), groups=2, batch=3)
    x, w, _ = case.normals()
    x[1, 0, 9, 33] = np.nan
    tc.set_num_threads(1)
    expected = tc.conv2d(x, w, **case.options, algorithm="fft")
    tc.set_num_threads(threads)
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for input in (x, nhwc, x[::-1].copy()[::-1]):
        np.testing.assert_array_equal(tc.conv2d(input, w, **case.options, algorithm="fft"), expected)
    for n in range(3):
        np.testing.assert_array_equal(tc.conv2d(x[n], w, **case.options, algorithm="fft"), expected[n])
