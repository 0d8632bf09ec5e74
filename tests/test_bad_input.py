"""Bad calls, as tables: each the right exception, and a message naming the argument, what came and what was wanted.

A row is (overrides of a good call, exception, patterns that must all occur in the message).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Union

import numpy as np
import pytest

import tileconv as tc
from cases import Array

Row = tuple[dict[str, Any], Union[type[Exception], tuple[type[Exception], ...]], tuple[str, ...]]

F32, F64 = np.float32, np.float64
X, W, B = np.ones((2, 4, 8, 9), F32), np.ones((6, 2, 3, 3), F32), np.ones(6, F32)
GOOD: dict[str, Any] = {"input": X, "weight": W, "bias": B, "padding": 1, "groups": 2}
OUT_SHAPE = (2, 6, 8, 9)
SHARED = np.ones(4000, F32)
PAIR = "(pair|two|2)"
INT = r"\bint"


def read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


def vast(*shape: int) -> Array:
    """An array that claims `shape` and owns one element."""
    return np.broadcast_to(F32(0), shape)


ARRAYS: list[Row] = [
    *[
        ({name: value}, TypeError, (rf"\b{name}\b", came, "array"))
        for name in ("input", "weight", "bias")
        for value, came in (
            (3, "3|int"),
            ("abc", "abc|str"),
            (object(), "object"),
            ([[1.0]], "list"),
            (1.5, "1.5|float"),
        )
    ],
    ({"input": None}, TypeError, (r"\binput\b", "None", "array")),
    ({"weight": None}, TypeError, (r"\bweight\b", "None", "array")),
    *[
        ({"input": X.astype(dtype)}, TypeError, (r"\binput\b", np.dtype(dtype).name, "float32", "float64"))
        for dtype in ("int32", "int64", "uint8", "bool", "complex64", "float16", "longdouble")
    ],
    ({"input": X.astype(object)}, TypeError, (r"\binput\b", "object", "float32")),
    ({"input": X.astype("U3")}, TypeError, (r"\binput\b", "str|U3", "float32")),
    ({"input": np.zeros(X.shape, "M8[s]")}, TypeError, (r"\binput\b", "datetime|M8", "float32")),
    ({"input": np.zeros(X.shape, [("a", "f4")])}, TypeError, (r"\binput\b", "void|f4", "float32")),
    ({"weight": W.astype(F64)}, TypeError, (r"\bweight\b", "float64", "float32")),
    ({"weight": W.astype(int)}, TypeError, (r"\bweight\b", "int64", "float32")),
    ({"input": X.astype(F64)}, TypeError, (r"\bweight\b|\binput\b", "float64", "float32")),
    ({"bias": B.astype(F64)}, TypeError, (r"\bbias\b", "float64", "float32")),
    ({"bias": B.astype(complex)}, TypeError, (r"\bbias\b", "complex128", "float32")),
    ({"input": np.ma.masked_less(X, 2)}, TypeError, (r"\binput\b", "mask")),
    *[
        ({"input": np.ones(shape, F32)}, ValueError, (r"\binput\b", re.escape(str(shape)), "3", "4"))
        for shape in ((), (9,), (8, 9), (1, 2, 4, 8, 9))
    ],
    *[
        ({"weight": np.ones(shape, F32)}, ValueError, (r"\bweight\b", re.escape(str(shape)), "4"))
        for shape in ((), (3, 3), (6, 3, 3), (6, 2, 3, 3, 1))
    ],
    ({"weight": np.ones((6, 2, 0, 3), F32)}, ValueError, (r"\bweight\b", r"\(6, 2, 0, 3\)", "1|positive")),
    ({"weight": np.ones((0, 2, 3, 3), F32)}, ValueError, (r"\bweight\b", r"\(0, 2, 3, 3\)", "1|positive")),
    *[
        ({"bias": np.ones(shape, F32)}, ValueError, (r"\bbias\b", re.escape(str(shape)), r"\b6\b"))
        for shape in ((), (5,), (7,), (1, 6), (0,))
    ],
    ({"weight": np.ones((6, 3, 3, 3), F32)}, ValueError, (r"\bweight\b", "3", "groups=2", r"\b2\b")),
    ({"input": np.ones((2, 6, 8, 9), F32)}, ValueError, (r"\binput\b", r"\b6\b", r"\b3\b")),
    ({"input": np.ones((2, 5, 8, 9), F32)}, ValueError, ("groups=2", "in_channels=5")),
    ({"input": np.ones((2, 0, 8, 9), F32)}, ValueError, (r"\binput\b", r"\(2, 0, 8, 9\)|\b0\b", "channel")),
]

SIZES: list[Row] = [
    *[
        ({name: value}, TypeError, (rf"\b{name}\b", came, INT))
        for name in ("stride", "padding", "dilation", "groups")
        for value, came in ((1.0, "1.0|float"), (True, "True|bool"), (None, "None"), (np.float32(2), "2.0|float32"))
    ],
    *[
        ({name: value}, TypeError, (rf"\b{name}\b", came, INT))
        for name in ("stride", "padding", "dilation")
        for value, came in (((1.0, 1), r"1\.0"), ((1, None), "None"), ((True, 1), "True"), (b"1", "b'1'|bytes"))
    ],
    *[({name: "1"}, TypeError, (rf"\b{name}\b", "'1'|str", INT)) for name in ("stride", "dilation", "groups")],
    ({"groups": (1, 1)}, TypeError, ("groups", r"\(1, 1\)", INT)),
    ({"padding": ((1, 1.5), (1, 1))}, TypeError, ("padding", r"1\.5", INT)),
    *[
        ({name: value}, ValueError, (rf"\b{name}\b", re.escape(str(value)), PAIR))
        for name in ("stride", "padding", "dilation")
        for value in ((1, 1, 1), (), (1, 1, 1, 1))
    ],
    *[
        ({name: value}, ValueError, (rf"\b{name}\b", came, "positive|at least 1"))
        for name in ("stride", "dilation")
        for value, came in (
            (0, r"\b0\b"),
            (-1, "-1"),
            ((0, 1), r"\(0, 1\)"),
            ((1, -2), r"\(1, -2\)"),
            (np.int64(0), "0"),
        )
    ],
    ({"groups": 0}, ValueError, ("groups", r"\b0\b", "positive|at least 1")),
    ({"groups": -2}, ValueError, ("groups", "-2", "positive|at least 1")),
    ({"groups": 3}, ValueError, ("groups=3", "in_channels=4", "divide")),
    ({"groups": 4, "weight": np.ones((6, 1, 3, 3), F32)}, ValueError, ("groups=4", "out_channels=6", "divide")),
    ({"groups": 1}, ValueError, (r"\bweight\b", r"\b2\b", r"\b4\b")),
    ({"padding": -1}, ValueError, ("padding", "-1", "0")),
    ({"padding": (1, -3)}, ValueError, ("padding", "-3", "0")),
    ({"padding": ((0, 0), (-2, 0))}, ValueError, ("padding", "-2", "0")),
    ({"padding": ((1, 1), (1, 1), (1, 1))}, ValueError, ("padding", r"\(\(1, 1\), \(1, 1\), \(1, 1\)\)", PAIR)),
    ({"padding": ((1,), (1, 1))}, ValueError, ("padding", r"\(\(1,\), \(1, 1\)\)", PAIR)),
    ({"padding": "smae"}, ValueError, ("padding", "smae", "same", "valid", "same_upper", "same_lower")),
    ({"padding": "SAME"}, ValueError, ("padding", "SAME", "'same'")),
    ({"padding": "same", "stride": 2}, ValueError, ("padding|same", "stride", r"\b2\b", r"\b1\b")),
    *[({name: 2**63}, ValueError, (rf"\b{name}\b", "64")) for name in ("stride", "padding", "dilation", "groups")],
]

GEOMETRY: list[Row] = [
    ({"weight": np.ones((6, 2, 11, 3), F32)}, ValueError, ("kernel|weight", r"\b11\b", r"\b10\b", "padd")),
    ({"weight": np.ones((6, 2, 3, 12), F32)}, ValueError, ("kernel|weight", r"\b12\b", r"\b11\b", "padd")),
    ({"dilation": 5}, ValueError, ("kernel|weight", "dilation", r"\b5\b", r"\b10\b")),
    ({"dilation": 2**40}, ValueError, ("kernel|weight", "dilation", str(2**40))),
    ({"dilation": 2**62}, ValueError, ("dilation", str(2**62))),
    ({"input": np.ones((1, 4, 0, 9), F32), "padding": 0}, ValueError, ("input", r"\b0\b", "padd")),
    ({"input": np.ones((1, 4, 0, 9), F32), "padding": 1}, ValueError, ("kernel|weight", r"\b3\b", r"\b2\b")),
    *[
        (
            {"input": np.ones((1, 4, 8, 0), F32), "padding_mode": mode, "padding": (0, 2)},
            ValueError,
            ("padding|input", "0"),
        )
        for mode in ("replicate", "reflect", "circular", "symmetric")
    ],
    ({"padding": (8, 0), "padding_mode": "reflect"}, ValueError, ("padding", "reflect", r"\b8\b", "less|<|smaller")),
    ({"padding": ((0, 0), (0, 9)), "padding_mode": "reflect"}, ValueError, ("padding", "reflect", r"\b9\b")),
    ({"padding": (9, 0), "padding_mode": "circular"}, ValueError, ("padding", "circular", r"\b9\b", r"\b8\b")),
    ({"padding": (0, 10), "padding_mode": "circular"}, ValueError, ("padding", "circular", r"\b10\b", r"\b9\b")),
]

NAMES: list[Row] = [
    *[
        (
            {"padding_mode": value},
            ValueError,
            ("padding_mode", f"'{value}'", "zeros", "reflect", "replicate", "circular"),
        )
        for value in ("zero", "", "constant", "Zeros")
    ],
    *[
        ({"algorithm": value}, ValueError, ("algorithm", f"'{value}'", "auto", "shift_gemm", "reference"))
        for value in ("magic", "", "AUTO")
    ],
    *[
        ({name: value}, TypeError, (name, came, r"\bstr"))
        for name in ("padding_mode", "algorithm")
        for value, came in ((None, "None"), (1, "1|int"), (b"zeros", "b'zeros'|bytes"))
    ],
]

CALLS = [*ARRAYS, *SIZES, *GEOMETRY, *NAMES]

OUT: list[Row] = [
    ({"out": np.ones((2, 6, 8, 8), F32)}, ValueError, (r"\bout\b", r"\(2, 6, 8, 8\)", r"\(2, 6, 8, 9\)")),
    ({"out": np.ones((6, 8, 9), F32)}, ValueError, (r"\bout\b", r"\(6, 8, 9\)", r"\(2, 6, 8, 9\)")),
    ({"out": np.ones(864, F32)}, ValueError, (r"\bout\b", r"\(864,\)", r"\(2, 6, 8, 9\)")),
    ({"out": np.ones(OUT_SHAPE, F64)}, TypeError, (r"\bout\b", "float64", "float32")),
    ({"out": np.ones(OUT_SHAPE, int)}, TypeError, (r"\bout\b", "int64", "float32")),
    ({"out": np.ones(OUT_SHAPE, ">f4")}, TypeError, (r"\bout\b", ">f4|byte", "float32|native")),
    ({"out": read_only(np.ones(OUT_SHAPE, F32))}, ValueError, (r"\bout\b", "read-only|writ")),
    ({"out": np.ones(OUT_SHAPE).tolist()}, TypeError, (r"\bout\b", "list", "array")),
    ({"out": "result"}, TypeError, (r"\bout\b", "result|str", "array")),
    ({"out": np.ma.ones(OUT_SHAPE, F32)}, TypeError, (r"\bout\b", "mask")),
    (
        {"out": np.lib.stride_tricks.as_strided(np.ones(9, F32), OUT_SHAPE, (0, 0, 0, 4))},
        ValueError,
        (r"\bout\b", "overlap|memory|strides|0"),
    ),
    *[
        ({name: SHARED[first : first + size].reshape(shape), "out": SHARED[:864].reshape(OUT_SHAPE)}, ValueError, needs)
        for name, shape, first, size, needs in (
            ("input", X.shape, 863, 576, (r"\bout\b", "overlap|memory", "input")),
            ("weight", W.shape, 800, 108, (r"\bout\b", "overlap|memory", "weight")),
            ("bias", B.shape, 0, 6, (r"\bout\b", "overlap|memory", "bias")),
        )
    ],
]

# No process can be given this much; whether a size fits 64 bits but not memory is not for the caller to know.
TOO_LARGE = (MemoryError, ValueError)
HUGE: list[Row] = [
    ({"padding": 2**21}, MemoryError, ("allocat",)),
    ({"input": vast(1, 4, 2**28, 2**28), "padding": 1}, MemoryError, ("allocat",)),
    ({"input": vast(1, 4, 2**29, 2**29)}, TOO_LARGE, ("input|output|allocat",)),
    ({"padding": 2**40}, TOO_LARGE, ("output|allocat",)),
    ({"padding": 2**62}, TOO_LARGE, ("padding|output|allocat",)),
    ({"padding": 2**63 - 1}, TOO_LARGE, ("padding|output|allocat",)),
    ({"padding": (0, 2**61)}, TOO_LARGE, ("padding|output|allocat",)),
]


def identify(row: Row) -> str:
    def short(value: object) -> str:
        text = f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)
        return type(value).__name__ if len(text) > 50 or text.startswith("<") else text

    return ",".join(f"{name}={short(value)}" for name, value in row[0].items())


def assert_refused(call: Callable[..., Any], row: Row, good: dict[str, Any]) -> None:
    overrides, expected, patterns = row
    with pytest.raises(expected) as caught:
        call(**{**good, **overrides})
    classes = expected if isinstance(expected, tuple) else (expected,)
    # UnicodeError and the like are ValueErrors too: only the class itself, or NumPy's own MemoryError, will do.
    assert caught.type in classes or issubclass(caught.type, MemoryError), caught.type
    for pattern in patterns:
        assert re.search(pattern, str(caught.value), re.IGNORECASE), f"no {pattern!r} in: {caught.value}"


@pytest.mark.parametrize("name", ["padding", "padding_mode", "algorithm"])
def test_half_of_a_surrogate_pair_is_a_wrong_name(name: str) -> None:
    with pytest.raises(ValueError, match=name + r" must be .*, got '\\ud800'"):
        tc.conv2d(**GOOD | {name: "\ud800"})


def test_the_good_call_is_good() -> None:
    assert tc.conv2d(**GOOD).shape == OUT_SHAPE
    assert len(CALLS) + len(OUT) + len(HUGE) >= 90


@pytest.mark.parametrize("row", [*CALLS, *OUT, *HUGE], ids=identify)
def test_conv2d(row: Row) -> None:
    assert_refused(tc.conv2d, row, GOOD)


@pytest.mark.parametrize("row", CALLS, ids=identify)
def test_out_is_untouched_after_an_error(row: Row) -> None:
    """Every check comes before the first write."""
    out = np.full(OUT_SHAPE, 7, F32)
    assert_refused(tc.conv2d, (row[0], (TypeError, ValueError), ()), {**GOOD, "out": out})
    assert (out == 7).all()


@pytest.mark.parametrize("row", [row for row in OUT if isinstance(row[0]["out"], np.ndarray)], ids=identify)
def test_refused_out_is_untouched(row: Row) -> None:
    out = row[0]["out"]
    before = out.tobytes()
    assert_refused(tc.conv2d, row, GOOD)
    assert out.tobytes() == before
