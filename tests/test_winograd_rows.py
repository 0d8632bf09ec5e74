"""Winograd's algorithm down the columns: unfinished tiles and vectors, and values that spoil an image."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest

import gradients
import reference
import tileconv as tc
from cases import DTYPES, MODES, Case, Pair
from checks import assert_accurate, assert_every_run, assert_same_bits, plan, runs
from layouts import LAYOUTS, OUT_LAYOUTS, assert_layout_means_nothing, room

ROWS = "winograd_rows"

WIDTHS = (1, 7, 8, 12, 15, 16, 17, 24, 31, 33)
"""Less than a vector, whole ones, and what is left of them, half a one too, on every instruction set."""


def few(kernel: Pair, outputs: Pair, stride: Pair = (1, 1), dilation: Pair = (1, 1), **more: object) -> Case:
    """So many outputs, of a few in channels for more out channels than a block has."""
    padding = (kernel[0] // 2, (kernel[0] - 1) // 2, kernel[1] // 2, kernel[1] // 2)
    size = [
        max(1, (n - 1) * s + (k - 1) * d + 1 - before - behind)
        for n, s, k, d, before, behind in zip(outputs, stride, kernel, dilation, padding[::2], padding[1::2])
    ]
    given = {"in_channels": 3, "out_channels": 7, "bias": True, **more}
    ins, outs = given.pop("in_channels"), given.pop("out_channels")
    return Case("rows", ins, *size, outs, kernel, stride, padding, dilation, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel_h", range(2, 17))
def test_every_number_of_rows_and_rests_of_a_row(kernel_h: int, dtype: str, isa: str) -> None:
    """Tiles are of five rows at most."""
    for outputs in [*product(range(5, 11), (9,)), *product((6,), WIDTHS)]:
        case = few((kernel_h, 3), outputs, dtype=dtype)
        assert_every_run(case, [ROWS], outputs, kernel_h + outputs[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_last_tile_of_a_row_is_less_than_a_vector(dtype: str, isa: str) -> None:
    """Of so many in channels, tiles of a row are two vectors wide."""
    for width in range(33, 49):
        case = few((3, 3), (6, width), in_channels=40, dtype=dtype)
        assert_every_run(case, [ROWS], (6, width), width)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kernel", [(2, 5), (3, 3), (4, 1), (5, 2), (9, 4)], ids=str)
def test_padding_and_dilation(kernel: Pair, mode: str, isa: str) -> None:
    for dilation, rows in product([(1, 1), (2, 3), (4, 1), (1, 5)], range(9, 14)):
        padding = (3, 2, 4, 1)
        size = [max(6, n + (k - 1) * d - p) for n, k, d, p in zip((rows, 21), kernel, dilation, (5, 5))]
        case = Case("padded", 3, *size, 5, kernel, padding=padding, dilation=dilation, padding_mode=mode, bias=True)
        outputs = plan(case, ROWS).output_shape[2:]
        assert_every_run(case, [ROWS], outputs, rows)
        gradients.assert_every_input_gradient(case, ROWS)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (2, 1), (3, 4)], ids=str)
def test_strides(stride: Pair, mode: str, isa: str) -> None:
    """Segments of two taps and more, whole and less one; dilations that share a factor with the stride, or none."""
    for kernel, dilation, rows in product([(4, 3), (7, 7), (9, 3), (11, 2)], [(1, 1), (2, 1), (3, 2)], (4, 7, 10)):
        if kernel[0] < 2 * stride[0]:
            continue
        case = few(kernel, (rows, 18), stride, dilation, padding_mode=mode)
        if mode == "zeros" or min(case.in_h, case.in_w) > 5:
            assert_every_run(case, [ROWS], plan(case, ROWS).output_shape[2:], rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [(1, 1), (1, 64), (2, 3), (16, 5), (70, 2), (9, 33)], ids=str)
def test_channels_and_groups(channels: Pair, dtype: str, isa: str) -> None:
    """Windows within L1 and beyond; blocks of as many out channels as there are, whole and even ones."""
    for groups in (1, 3):
        shape = {"in_channels": channels[0] * groups, "out_channels": channels[1] * groups, "groups": groups}
        for kernel in ((3, 3), (7, 2)):
            case = few(kernel, (19, 70), batch=2, dtype=dtype, **shape)
            assert_every_run(case, [ROWS], (19, 70), groups)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_of_every_layout(layout: str, stride: int, isa: str) -> None:
    for kernel, mode in product(((5, 3), (8, 5)), ("zeros", "reflect")):
        case = few(kernel, (13, 33), (stride, stride), in_channels=6, out_channels=10, groups=2, padding_mode=mode)
        x, w, b = case.normals()
        assert_layout_means_nothing(case, x, w, b, ROWS, layout)
        x[0, 4, 7, 9] = np.nan
        assert_layout_means_nothing(case, x, w, b, ROWS, layout)


@pytest.mark.parametrize("layout", OUT_LAYOUTS)
def test_outputs_of_every_layout(layout: str, isa: str) -> None:
    case = few((3, 3), (13, 33), in_channels=6, out_channels=10, groups=2, batch=2)
    x, w, b = case.normals()
    expected = tc.conv2d(x, w, b, **case.options, algorithm=ROWS)
    memory, out = room(expected.shape, expected.dtype, layout)
    memory[...] = np.nan
    out[...] = np.nan
    tc.conv2d(x, w, b, **case.options, algorithm=ROWS, out=out)
    assert_same_bits(np.ascontiguousarray(out), expected, layout)


@pytest.mark.parametrize(
    ("kernel_h", "stride", "dilation"), [(3, 1, 1), (9, 1, 1), (3, 1, 7), (7, 2, 1), (13, 1, 4)], ids=str
)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_bits_do_not_depend_on_batch_or_threads(
    threads: int, kernel_h: int, stride: int, dilation: int, isa: str
) -> None:
    """Nor, of phases that are not equally long, on how many bands they are cut into; or on what lay in the arena."""
    shape = {"in_channels": 8, "out_channels": 24, "batch": 3}
    case = few((kernel_h, 3), (61, 150), (stride, stride), (dilation, 1), **shape)
    x, w, b = case.normals()
    layer = partial(tc.conv2d, weight=w, bias=b, **case.options, algorithm=ROWS)
    tc.set_num_threads(1)
    clean = layer(x)
    spoilt = x.copy()
    spoilt[1, 5, 9, 3] = np.nan
    expected = layer(spoilt)
    tc.set_num_threads(threads)
    nhwc = np.ascontiguousarray(spoilt.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for values in (spoilt, nhwc):
        assert_same_bits(layer(values), expected, f"{threads} threads")
    assert_same_bits(layer(x), clean, f"{threads} threads, after values that are not finite")
    for n in range(3):
        assert_same_bits(layer(spoilt[n]), expected[n], f"image {n}, {threads} threads")


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("mode", MODES)
def test_gradients_beside_values_that_are_not_finite(mode: str, isa: str) -> None:
    """More out channels than are packed together; the frame of the input in strips, each spoilt or not by itself."""
    for kernel, groups in (((3, 3), 2), ((9, 2), 1)):
        case = few(kernel, (15, 40), in_channels=5 * groups, out_channels=19 * groups, groups=groups, batch=2)
        case = replace(case, padding_mode=mode, bias=False)
        operands = gradients.normals(case)
        for place, value in (((0, 0, 7, 9), np.nan), ((1, 18, 0, 0), np.inf), ((1, 3, 14, 39), -np.inf)):
            operands.g[place] = value
            expected = operands.expected("input_gradient", case.options)
            for label, _, run in gradients.gradient_runs(case, "input_gradient", operands, [ROWS]):
                assert_accurate(run(np.full(expected.shape, np.nan, operands.x.dtype)), expected, f"{label}, {place}")


def test_frozen_layers_share_packed_weights_among_sizes(isa: str) -> None:
    case = few((5, 3), (20, 20), in_channels=4, out_channels=9)
    _, w, b = case.normals()
    run = tc._core.FrozenConv2d(w, b, (1, 1), case.padding, (1, 1), 1, "zeros").run
    for height, width in ((20, 20), (7, 90), (33, 5), (20, 20)):
        x = replace(case, in_h=height, in_w=width).normals(height)[0]
        for values in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
            assert_accurate(run(values, None, ROWS), reference.conv2d(x, w, b, **case.options), f"{height}x{width}")


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30])
@pytest.mark.parametrize("kernel", [(3, 3), (8, 2)], ids=str)
def test_values_that_spoil_sums_show_where_they_are_read(kernel: Pair, value: float, isa: str) -> None:
    """Among the weights too: a product with the padding is one of zero and infinity."""
    case = few(kernel, (11, 9), batch=2)
    clean, w, b = case.normals()
    w = np.clip(w, -0.9, 0.9)
    for row, column in product((0, 4, case.in_h - 1), (0, 5, case.in_w - 1)):
        x = clean.copy()
        x[1, 2, row, column] = value
        expected = reference.conv2d(x, w, b, **case.options)
        for label, _, run in runs(case, w, b, [ROWS]):
            assert_accurate(run(x), expected, f"{label}, {value}")
    for row, column in product(range(kernel[0]), range(kernel[1])):
        spoilt = w.copy()
        spoilt[3, 1, row, column] = value
        tiny = clean * 1e-3
        expected = reference.conv2d(tiny, spoilt, b, **case.options)
        for label, _, run in runs(case, spoilt, b, [ROWS]):
            assert_accurate(run(tiny), expected, f"{label}, weight {value}")


@pytest.mark.parametrize("kernel_h", [2, 3, 5, 7])
def test_pixels_that_no_output_reads_do_not_show(kernel_h: int, isa: str) -> None:
    """Not even in rounding errors: windows reach further than the last tile's outputs."""
    for rows in range(2, 11):
        case = Case("unread", 3, (rows - 1) * 2 + kernel_h + 1, 20, 5, (kernel_h, 3), (2 if kernel_h > 3 else 1, 1))
        x, w, _ = case.normals()
        read = tc.grad.conv2d_input(
            x.shape, np.ones_like(w), np.ones(plan(case).output_shape, x.dtype), stride=case.stride
        )
        x[read == 0] = np.nan
        expected = reference.conv2d(np.where(read == 0, 0, x), w, **case.options)
        for label, _, run in runs(case, w, None, [ROWS]):
            found = run(x)
            assert_accurate(found, expected, f"{label}, {rows}")
            assert_same_bits(run(np.where(read == 0, 0, x).astype(x.dtype)), found, label)


@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "options", "reason"),
    [
        ((1, 3, 20, 20), (4, 3, 1, 3), {}, "fewer than 2 or more than 16 rows"),
        ((1, 3, 20, 20), (4, 3, 17, 3), {}, "fewer than 2 or more than 16 rows"),
        ((1, 3, 20, 20), (4, 3, 3, 3), {"stride": 3}, "fewer than 2 or more than 16 rows"),
        ((1, 3, 20, 20), (4, 3, 3, 3), {"dilation": 8}, "tiles of a single row"),
        ((1, 1, 18, 1450), (4, 1, 16, 1400), {}, "kernels of a vector of channels are more"),
        ((1, 1, 2**60 - 2, 1), (1, 1, 2**60, 1), {"stride": (2**59, 1), "padding": (2**59, 0)}, "workspace holds"),
        ((1, 1, 2, 1), (1 << 57, 1, 3, 3), {"padding": 1}, "more than memory holds"),
        ((1, 3000, 20, 200), (4, 3000, 3, 3), {}, "more than the workspace holds"),
        ((1, 3, 20, 1 << 20), (4, 3, 3, 3), {}, "more than the workspace holds"),
    ],
)
def test_what_is_refused(
    input_shape: tuple[int, ...], weight_shape: tuple[int, ...], options: dict, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        tc.explain(input_shape, weight_shape, **options, algorithm=ROWS)


def test_workspace_is_bounded(isa: str) -> None:
    for ins, outs, size, kernel, d in [
        (100, 4, 100, 3, 1),
        (30, 70, 200, 9, 1),
        (3, 4, 3000, 16, 1),
        (8, 8, 50, 3, 500),
    ]:
        for dtype in ("float32", "float64"):
            options = {"padding": (1, d), "dilation": (1, d), "algorithm": ROWS, "dtype": dtype}
            found = tc.explain((1, ins, 30, size), (outs, ins, kernel, 3), **options)
            assert 0 < found.workspace_bytes <= 4 << 20
