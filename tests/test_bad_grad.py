"""Bad calls of the gradients and of transposed convolution: the same doors, the same messages, as tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import tileconv as tc
from test_bad_input import (
    F32,
    F64,
    INT,
    NAMES,
    OUT_SHAPE,
    PAIR,
    SIZES,
    Row,
    W,
    X,
    assert_refused,
    identify,
    read_only,
    vast,
)

G = np.ones(OUT_SHAPE, F32)
BASE: dict[str, Any] = {"grad_output": G, "padding": 1, "groups": 2}
GRAD_INPUT: dict[str, Any] = {**BASE, "input_size": X.shape, "weight": W}
GRAD_WEIGHT: dict[str, Any] = {**BASE, "input": X, "weight_size": W.shape}
GRADIENTS = {"conv2d_input": GRAD_INPUT, "conv2d_weight": GRAD_WEIGHT}

# Stride, padding, dilation, groups, names: told as conv2d tells them.
OPTIONS = [row for row in [*SIZES, *NAMES] if "weight" not in row[0] and row[0] != {"groups": 1}]

GRAD_OUTPUT: list[Row] = [
    *[
        ({"grad_output": value}, TypeError, ("grad_output", came, "array"))
        for value, came in ((3, "3|int"), (None, "None"), ([[1.0]], "list"), ("abc", "abc|str"))
    ],
    *[
        ({"grad_output": G.astype(dtype)}, TypeError, ("grad_output", np.dtype(dtype).name, "float32"))
        for dtype in ("float64", "int64", "complex64", "float16")
    ],
    ({"grad_output": np.ma.masked_less(G, 2)}, TypeError, ("grad_output", "mask")),
    *[
        (
            {"grad_output": np.ones(shape, F32)},
            ValueError,
            ("grad_output", *map(r"\b{}\b".format, shape), r"\(2, 6, 8, 9\)"),
        )
        for shape in ((2, 6, 8, 8), (2, 6, 9, 9), (2, 5, 8, 9), (1, 6, 8, 9), (6, 8, 9), (8, 9), (2, 6, 8, 9, 1))
    ],
    ({"stride": 2}, ValueError, ("grad_output", r"\(2, 6, 4, 5\)", r"\(2, 6, 8, 9\)")),
    ({"padding": 0}, ValueError, ("grad_output", r"\(2, 6, 6, 7\)", r"\(2, 6, 8, 9\)")),
    ({"padding_mode": "reflect", "padding": 8}, ValueError, ("padding", "reflect", r"\b8\b")),
    ({"dilation": 6}, ValueError, ("kernel|weight", "dilation", r"\b6\b")),
]

OF_INPUT: list[Row] = [
    *[
        ({"input_size": value}, TypeError, ("input_size", came, "tuple"))
        for value, came in ((None, "None"), (3, "3"), ("2489", "2489"), (X, "array"), ((2, 4, 8.0, 9), r"8\.0"))
    ],
    *[
        ({"input_size": value}, ValueError, ("input_size", came))
        for value, came in (
            ((8, 9), r"\(8, 9\)"),
            ((1, 2, 4, 8, 9), r"\(1, 2, 4, 8, 9\)"),
            ((2, 4, -8, 9), r"\(2, 4, -8, 9\)"),
            ((-2, 4, 8, 9), r"\(-2, 4, 8, 9\)"),
            ((2, 0, 8, 9), r"\(2, 0, 8, 9\)"),
            ((2, 6, 8, 9), r"\b6\b"),
            ((2, 2**63, 8, 9), "int64"),
        )
    ],
    ({"input_size": (2, 5, 8, 9)}, ValueError, ("groups=2", "in_channels=5")),
    ({"input_size": (2, 4, 9, 9)}, ValueError, ("grad_output", r"\(2, 6, 9, 9\)", r"\(2, 6, 8, 9\)")),
    ({"input_size": (3, 4, 8, 9)}, ValueError, ("grad_output", r"\(3, 6, 8, 9\)", r"\(2, 6, 8, 9\)")),
    ({"input_size": (2, 4, 0, 9)}, ValueError, ("kernel|weight", r"\b2\b")),
    ({"input_size": (2, 4, 0, 9), "padding": 0}, ValueError, ("input_size", "height 0")),
    ({"weight": W.astype(F64)}, TypeError, ("weight", "float64", "float32")),
    ({"weight": None}, TypeError, ("weight", "None", "array")),
    ({"weight": W[0]}, ValueError, ("weight", r"\(2, 3, 3\)", "4")),
    ({"weight": np.ones((6, 3, 3, 3), F32)}, ValueError, ("weight", r"\b3\b", "groups=2", r"\b2\b")),
    ({"out": np.ones((2, 4, 8, 8), F32)}, ValueError, (r"\bout\b", r"\(2, 4, 8, 8\)", r"\(2, 4, 8, 9\)")),
    ({"out": np.ones(X.shape, F64)}, TypeError, (r"\bout\b", "float64", "float32")),
    ({"out": read_only(np.ones(X.shape, F32))}, ValueError, (r"\bout\b", "read-only|writ")),
    ({"out": np.ones(X.shape).tolist()}, TypeError, (r"\bout\b", "list", "array")),
    (
        {"input_size": (1, 4, 2**29, 2**29), "grad_output": vast(1, 6, 2**29, 2**29)},
        (MemoryError, ValueError),
        ("input|output|allocat",),
    ),
]

OF_WEIGHT: list[Row] = [
    *[
        ({"weight_size": value}, TypeError, ("weight_size", came, "tuple"))
        for value, came in ((None, "None"), (3, "3"), (W, "array"), ((6, 2, True, 3), "True"))
    ],
    *[
        ({"weight_size": value}, ValueError, ("weight", came))
        for value, came in (
            ((6, 2, 3), r"\(6, 2, 3\)"),
            ((6, 2, 0, 3), r"\(6, 2, 0, 3\)"),
            ((6, -2, 3, 3), r"\(6, -2, 3, 3\)"),
            ((6, 3, 3, 3), r"\b3\b"),
            ((6, 2, 11, 3), r"\b11\b"),
        )
    ],
    ({"weight_size": (5, 2, 3, 3)}, ValueError, ("groups=2", "out_channels=5")),
    ({"weight_size": (8, 2, 3, 3)}, ValueError, ("grad_output", r"\(2, 8, 8, 9\)", r"\(2, 6, 8, 9\)")),
    ({"input": X[:1]}, ValueError, ("grad_output", r"\(1, 6, 8, 9\)", r"\(2, 6, 8, 9\)")),
    ({"input": X[0]}, ValueError, ("grad_output", r"\(6, 8, 9\)", r"\(2, 6, 8, 9\)")),
    ({"input": X[0, 0]}, ValueError, ("input", r"\(8, 9\)", "3", "4")),
    ({"input": X.astype(int)}, TypeError, ("input", "int64", "float32")),
    ({"input": np.ones((2, 6, 8, 9), F32)}, ValueError, ("input", r"\b6\b")),
    ({"out": np.ones((6, 2, 3, 2), F32)}, ValueError, (r"\bout\b", r"\(6, 2, 3, 2\)", r"\(6, 2, 3, 3\)")),
    ({"out": np.ones(W.shape, ">f4")}, TypeError, (r"\bout\b", ">f4|byte")),
    ({"out": "result"}, TypeError, (r"\bout\b", "result|str", "array")),
]

SHARED = np.ones(2000, F32)
OVERLAPS: list[tuple[str, Row]] = [
    (
        "conv2d_input",
        (
            {"grad_output": SHARED[:864].reshape(OUT_SHAPE), "out": SHARED[863:1439].reshape(X.shape)},
            ValueError,
            ("out", "overlap", "grad_output"),
        ),
    ),
    (
        "conv2d_weight",
        (
            {"input": SHARED[:576].reshape(X.shape), "out": SHARED[5:113].reshape(W.shape)},
            ValueError,
            ("out", "overlap", "input"),
        ),
    ),
]

BIAS: list[Row] = [
    *[({"grad_output": value}, TypeError, ("grad_output", "array")) for value in (None, 3, [[1.0]], "abc")],
    *[
        ({"grad_output": G.astype(dtype)}, TypeError, ("grad_output", np.dtype(dtype).name, "float32"))
        for dtype in ("int32", "complex64", "float16", "bool")
    ],
    *[
        ({"grad_output": np.ones(shape, F32)}, ValueError, ("grad_output", "4", "3"))
        for shape in ((), (6,), (8, 9), (1,) * 5)
    ],
    ({"out": np.ones(5, F32)}, ValueError, (r"\bout\b", r"\(5,\)", r"\(6,\)")),
    ({"out": np.ones(6, F64)}, TypeError, (r"\bout\b", "float64", "float32")),
    ({"out": read_only(np.ones(6, F32))}, ValueError, (r"\bout\b", "read-only|writ")),
    ({"out": [0.0] * 6}, TypeError, (r"\bout\b", "list", "array")),
    ({"out": G[0, :, 0, 0]}, ValueError, (r"\bout\b", "overlap", "grad_output")),
    ({"out": as_strided(np.zeros(1, F32), (6,), (0,))}, ValueError, (r"\bout\b", "overlap|strides")),
]

TRANSPOSED: dict[str, Any] = {
    "input": np.ones((2, 6, 5, 7), F32),
    "weight": np.ones((6, 2, 3, 3), F32),
    "bias": np.ones(4, F32),
    "stride": 2,
    "padding": 1,
    "groups": 2,
}
OF_TRANSPOSED_LAYER: list[Row] = [
    *[
        ({name: value}, TypeError, (rf"\b{name}\b", came, INT))
        for name in ("stride", "padding", "output_padding", "dilation", "groups")
        for value, came in ((1.0, "1.0|float"), (True, "True|bool"), (None, "None"), ("same", "same"))
    ],
    *[
        ({name: (1, 1, 1)}, ValueError, (rf"\b{name}\b", r"\(1, 1, 1\)", PAIR))
        for name in ("stride", "padding", "output_padding", "dilation")
    ],
    *[({name: 0}, ValueError, (rf"\b{name}\b", r"\b0\b", "at least 1")) for name in ("stride", "dilation", "groups")],
    ({"padding": ((1, 1), (1, 1))}, TypeError, ("padding", r"\(\(1, 1\), \(1, 1\)\)", PAIR)),
    ({"padding": -1}, ValueError, ("padding", "-1", "0")),
    *[
        ({"output_padding": value}, ValueError, ("output_padding", came, "stride", "dilation"))
        for value, came in ((2, r"\(2, 2\)"), (-1, "-1"), ((0, 2), r"\(0, 2\)"))
    ],
    ({"groups": 4}, ValueError, ("groups=4", "channels=6|channels=4")),
    ({"groups": 2**63}, ValueError, ("groups", "64")),
]
OF_TRANSPOSED: list[Row] = [
    *[row for row in OF_TRANSPOSED_LAYER if row[0] != {"groups": 4}],
    ({"groups": 4}, ValueError, ("groups=4", "channels=6", "divide")),
    *[
        ({name: value}, TypeError, (rf"\b{name}\b", "array"))
        for name in ("input", "weight", "bias")
        for value in (3, [[1.0]], "abc")
    ],
    ({"weight": np.ones((6, 2, 3, 3))}, TypeError, ("weight", "float64", "float32")),
    ({"input": np.ones((2, 6, 5, 7), int)}, TypeError, ("input", "int64", "float32")),
    *[({"input": np.ones(shape, F32)}, ValueError, ("input", "3", "4")) for shape in ((5, 7), (1, 2, 6, 5, 7))],
    ({"input": np.ones((2, 5, 5, 7), F32)}, ValueError, ("weight|input", r"\b5\b", r"\b6\b")),
    ({"input": np.ones((2, 6, 0, 7), F32)}, ValueError, ("input", r"\(2, 6, 0, 7\)", "1")),
    ({"weight": np.ones((6, 2, 3), F32)}, ValueError, ("weight", r"\(6, 2, 3\)", "4")),
    ({"weight": np.ones((6, 0, 3, 3), F32)}, ValueError, ("weight", r"\(6, 0, 3, 3\)", "1")),
    ({"bias": np.ones(6, F32)}, ValueError, ("bias", r"\(6,\)", r"\b4\b")),
    ({"padding": 6}, ValueError, ("padding", "output")),
    ({"stride": 2**62}, (ValueError, MemoryError), ("stride|output|allocat",)),
    ({"dilation": 2**62}, ValueError, ("dilation", str(2**62))),
    ({"padding": 2**62}, ValueError, ("padding", str(2**62))),
    ({"out": np.ones((2, 4, 9, 12), F32)}, ValueError, (r"\bout\b", r"\(2, 4, 9, 12\)", r"\(2, 4, 9, 13\)")),
    ({"out": np.ones((2, 4, 9, 13))}, TypeError, (r"\bout\b", "float64", "float32")),
]
TRANSPOSED_LAYER: dict[str, Any] = {
    "in_channels": 6,
    "out_channels": 4,
    "kernel_size": 3,
    **{name: TRANSPOSED[name] for name in ("stride", "padding", "groups")},
}
CONSTRUCTOR: list[Row] = [
    *OF_TRANSPOSED_LAYER,
    *[
        ({"padding_mode": mode}, ValueError, ("padding_mode", mode, "'zeros'"))
        for mode in ("reflect", "circular", "zero")
    ],
    ({"padding_mode": None}, TypeError, ("padding_mode", "None", "str")),
    ({"in_channels": 0}, ValueError, ("in_channels", r"\b0\b", "1")),
    ({"out_channels": 5}, ValueError, ("groups=2", "out_channels=5")),
    ({"kernel_size": (3, 0)}, ValueError, ("kernel_size", r"\(3, 0\)", "1")),
    ({"dtype": "int32"}, TypeError, ("dtype", "int32", "float32")),
    ({"bias": 1}, TypeError, ("bias", "1", "bool")),
]
CALL: list[Row] = [
    *[
        ({"output_size": size}, ValueError, ("output_size", r"\(9, 13\)", r"\(10, 14\)"))
        for size in ((8, 13), (9, 15), (20, 20), (-9, 13))
    ],
    *[
        ({"output_size": size}, ValueError, ("output_size", "2", "4"))
        for size in ((9,), (4, 9, 13), (1, 2, 4, 9, 13), ())
    ],
    ({"output_size": (9.0, 13)}, TypeError, ("output_size", r"9\.0", INT)),
    ({"output_size": 9}, TypeError, ("output_size", "9", "tuple")),
    ({"input": np.ones((2, 6, 5, 7))}, TypeError, ("input|weight", "float64", "float32")),
    ({"input": np.ones((2, 4, 5, 7), F32)}, ValueError, ("input", r"\b4\b", r"\b6\b")),
    ({"input": np.ones((5, 7), F32), "output_size": (9, 13)}, ValueError, ("input", r"\(5, 7\)", "3", "4")),
]
BACKWARD: list[Row] = [
    *[
        ({"grad_output": np.ones(shape, F32)}, ValueError, ("grad_output", wanted))
        for shape, wanted in (
            ((2, 4, 8, 13), r"\(8, 13\)"),
            ((2, 4, 9, 15), r"\(9, 15\)"),
            ((2, 6, 9, 13), r"\(2, 4\)"),
            ((1, 4, 9, 13), r"\(2, 4\)"),
            ((4, 9, 13), r"\(2, 4\)"),
            ((9, 13), r"\(2, 4\)"),
        )
    ],
    ({"grad_output": np.ones((2, 4, 9, 13))}, TypeError, ("grad_output", "float64", "float32")),
    ({"grad_output": None}, TypeError, ("grad_output", "None", "array")),
    ({"input": np.ones((2, 5, 5, 7), F32)}, ValueError, ("input", r"\b5\b", r"\b6\b")),
    ({"input": np.ones((5, 7), F32)}, ValueError, ("input", r"\(5, 7\)", "3", "4")),
    ({"input": None}, TypeError, ("input", "None", "array")),
]


def test_the_good_calls_are_good() -> None:
    assert tc.grad.conv2d_input(**GRAD_INPUT).shape == X.shape
    assert tc.grad.conv2d_weight(**GRAD_WEIGHT).shape == W.shape
    assert tc.conv_transpose2d(**TRANSPOSED).shape == (2, 4, 9, 13)
    assert tc.ConvTranspose2d(**TRANSPOSED_LAYER)(TRANSPOSED["input"]).shape == (2, 4, 9, 13)


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("row", [*OPTIONS, *GRAD_OUTPUT], ids=identify)
def test_both_gradients(row: Row, name: str) -> None:
    assert_refused(getattr(tc.grad, name), row, GRADIENTS[name])


TABLES = {
    "conv2d_input": (tc.grad.conv2d_input, GRAD_INPUT, OF_INPUT),
    "conv2d_weight": (tc.grad.conv2d_weight, GRAD_WEIGHT, OF_WEIGHT),
    "conv2d_bias": (tc.grad.conv2d_bias, {"grad_output": G}, BIAS),
    "conv_transpose2d": (tc.conv_transpose2d, TRANSPOSED, OF_TRANSPOSED),
    "ConvTranspose2d": (tc.ConvTranspose2d, TRANSPOSED_LAYER, CONSTRUCTOR),
    "call": (tc.ConvTranspose2d(**TRANSPOSED_LAYER), {"input": TRANSPOSED["input"]}, CALL),
    "backward": (
        tc.ConvTranspose2d(**TRANSPOSED_LAYER).backward,
        {"input": TRANSPOSED["input"], "grad_output": np.ones((2, 4, 9, 13), F32)},
        BACKWARD,
    ),
    "explain": (
        tc.explain,
        {"input_shape": X.shape, "weight_shape": W.shape, "padding": 1, "groups": 2},
        [
            ({"pass_": "backward"}, ValueError, ("pass", "'backward'", "forward", "input_gradient", "weight_gradient")),
            ({"pass_": None}, TypeError, ("pass_", "None", "str")),
        ],
    ),
}


@pytest.mark.parametrize(
    ("call", "good", "row"),
    [
        pytest.param(call, good, row, id=f"{name}-{identify(row)}")
        for name, (call, good, rows) in TABLES.items()
        for row in rows
    ],
)
def test_one_function(call: Callable[..., Any], good: dict[str, Any], row: Row) -> None:
    assert_refused(call, row, good)


@pytest.mark.parametrize(("name", "row"), OVERLAPS, ids=["conv2d_input", "conv2d_weight"])
def test_overlap(name: str, row: Row) -> None:
    before = SHARED.tobytes()
    assert_refused(getattr(tc.grad, name), row, GRADIENTS[name])
    assert SHARED.tobytes() == before


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("row", GRAD_OUTPUT, ids=identify)
def test_out_is_untouched_after_an_error(row: Row, name: str) -> None:
    out = np.full(X.shape if name == "conv2d_input" else W.shape, 7, F32)
    assert_refused(getattr(tc.grad, name), (row[0], row[1], ()), {**GRADIENTS[name], "out": out})
    assert (out == 7).all()


BACKWARD_OF_CONV: list[Row] = [
    ({"input": None}, TypeError, ("input", "None", "array")),
    ({"input": X.astype(F64)}, TypeError, ("grad_output|input", "float64", "float32")),
    ({"input": X[0]}, ValueError, ("grad_output", r"\(6, 8, 9\)")),
    ({"input": np.ones((2, 6, 8, 9), F32)}, ValueError, ("input", r"\b6\b")),
    ({"grad_output": G[..., :8]}, ValueError, ("grad_output", r"\(2, 6, 8, 8\)", r"\(2, 6, 8, 9\)")),
    ({"grad_output": G[:, :5]}, ValueError, ("grad_output", r"\(2, 5, 8, 9\)", r"\(2, 6, 8, 9\)")),
    ({"grad_output": G.astype(F64), "input": X.astype(F64)}, TypeError, ("weight|grad_output", "float64", "float32")),
]


@pytest.mark.parametrize("row", BACKWARD_OF_CONV, ids=identify)
def test_backward(row: Row) -> None:
    layer = tc.Conv2d(4, 6, 3, padding=1, groups=2)
    assert_refused(layer.backward, row, {"input": X, "grad_output": G})
