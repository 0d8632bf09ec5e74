"""Bad calls of `Conv2d`, `explain` and the thread functions: the same doors, the same messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tileconv as tc
from test_bad_input import F32, F64, GEOMETRY, INT, NAMES, OUT, PAIR, SIZES, Row, W, X, assert_refused, identify

LAYER: dict[str, Any] = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "padding": 1, "groups": 2}
# Whether a layer's geometry fits an image is known at the call only, and its weight follows its own arguments.
OF_ANY_IMAGE = [row for row in [*SIZES, *NAMES] if "algorithm" not in row[0] and row[0] != {"groups": 1}]
OF_ANY_LAYER = [row for row in OF_ANY_IMAGE if "weight" not in row[0]]

CONSTRUCTOR: list[Row] = [
    *[
        ({name: value}, TypeError, (rf"\b{name}\b", came, INT))
        for name in ("in_channels", "out_channels")
        for value, came in (
            (1.5, "1.5|float"),
            (None, "None"),
            ("3", "'3'|str"),
            (True, "True|bool"),
            ((3, 3), r"\(3, 3\)"),
        )
    ],
    *[
        ({name: value}, ValueError, (f"{name}|channels", str(value), "positive|at least 1"))
        for name in ("in_channels", "out_channels")
        for value in (0, -4)
    ],
    *[
        ({"kernel_size": value}, TypeError, ("kernel_size", came, INT))
        for value, came in (
            (1.5, "1.5|float"),
            (None, "None"),
            ("3", "'3'|str"),
            (True, "True|bool"),
            ((3, 1.0), r"1\.0"),
        )
    ],
    *[
        ({"kernel_size": value}, ValueError, ("kernel_size", came, "positive|at least 1"))
        for value, came in ((0, r"\b0\b"), (-3, "-3"), ((3, 0), r"\(3, 0\)"))
    ],
    ({"kernel_size": (3, 3, 3)}, ValueError, ("kernel_size", r"\(3, 3, 3\)", PAIR)),
    ({"groups": 4}, ValueError, ("groups=4", "out_channels=6", "divide")),
    *[
        ({"dtype": value}, TypeError, ("dtype", came, "float32"))
        for value, came in (
            (np.int32, "int32"),
            ("float16", "float16"),
            (complex, "complex128"),
            ("nonsense", "nonsense"),
        )
    ],
    ({"bias": None}, TypeError, ("bias", "None", "bool")),
    ({"bias": "yes"}, TypeError, ("bias", "yes", "bool")),
    ({"rng": "seed"}, TypeError, ("rng", "seed")),
    ({"rng": 1.5}, TypeError, ("rng", r"1\.5")),
]

FORWARD: list[Row] = [
    ({"input": None}, TypeError, ("input", "None", "array")),
    ({"input": [[1.0]]}, TypeError, ("input", "list", "array")),
    ({"input": X.astype(F64)}, TypeError, ("input|weight", "float64", "float32")),
    ({"input": X.astype(int)}, TypeError, ("input", "int64", "float32")),
    ({"input": X[0, 0]}, ValueError, ("input", r"\(8, 9\)", "3", "4")),
    ({"input": np.ones((2, 6, 8, 9), F32)}, ValueError, ("input", r"\b6\b", r"\b4\b|\b3\b")),
    ({"input": np.ones((2, 4, 8, 0), F32)}, ValueError, ("kernel|weight", r"\b3\b", r"\b2\b")),
    *[row for row in OUT if len(row[0]) == 1],
]

EXPLAIN: dict[str, Any] = {"input_shape": X.shape, "weight_shape": W.shape, "padding": 1, "groups": 2}
EXPLAINED: list[Row] = [
    ({"input_shape": (8, 9)}, ValueError, ("input", r"\(8, 9\)", "3", "4")),
    ({"input_shape": (1, 2, 3, 4, 5)}, ValueError, ("input", r"\(1, 2, 3, 4, 5\)", "4")),
    ({"input_shape": (2, 4, -8, 9)}, ValueError, ("input", r"\(2, 4, -8, 9\)")),
    ({"input_shape": 3}, TypeError, ("input_shape", r"\b3\b", "tuple|sequence")),
    ({"input_shape": None}, TypeError, ("input_shape", "None", "tuple|sequence")),
    ({"input_shape": (2, 4, 8.0, 9)}, TypeError, ("input_shape", r"8\.0", INT)),
    ({"weight_shape": (6, 2, 3)}, ValueError, ("weight", r"\(6, 2, 3\)", "4")),
    ({"weight_shape": "6233"}, TypeError, ("weight_shape", "6233", "tuple|sequence")),
    ({"weight_shape": (6, 2, 3, 0)}, ValueError, ("weight", r"\(6, 2, 3, 0\)", "1|positive")),
    ({"weight_shape": (6, 3, 3, 3)}, ValueError, ("weight", r"\b3\b", "groups=2")),
    ({"input_shape": (2**40, 2**22, 2**20, 2**20), "groups": 2**21}, ValueError, ("input|weight|groups",)),
    ({"dtype": "int32"}, TypeError, ("dtype|input", "int32", "float32")),
    ({"dtype": "nonsense"}, TypeError, ("dtype", "nonsense")),
    ({"bias": 1}, TypeError, ("bias", "1", "bool")),
    ({"frozen": "no"}, TypeError, ("frozen", "no", "bool")),
]

THREADS: list[Row] = [
    *[({"n": value}, ValueError, (r"\bn\b|threads", str(value), "1")) for value in (0, -1)],
    ({"n": 2**40}, ValueError, (r"\bn\b|threads", str(2**40))),
    ({"n": 2**64}, ValueError, (r"\bn\b|threads", "64")),
    *[
        ({"n": value}, TypeError, (r"\bn\b|threads", came, INT))
        for value, came in ((1.5, "1.5"), ("2", "'2'|str"), (True, "True|bool"), (None, "None"))
    ],
]


@pytest.mark.parametrize("row", [*OF_ANY_LAYER, *CONSTRUCTOR], ids=identify)
def test_constructor(row: Row) -> None:
    assert_refused(tc.Conv2d, row, LAYER)


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
@pytest.mark.parametrize("row", FORWARD, ids=identify)
def test_forward(row: Row, frozen: bool) -> None:
    layer = tc.Conv2d(**LAYER)
    if frozen:
        layer.freeze()
    assert_refused(layer, row, {"input": X})


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
@pytest.mark.parametrize("row", [row for row in GEOMETRY if "weight" not in row[0]], ids=identify)
def test_geometry_at_the_call(row: Row, frozen: bool) -> None:
    options = {name: value for name, value in row[0].items() if name != "input"}

    def call(input: Any) -> None:
        layer = tc.Conv2d(**{**LAYER, **options})
        (layer.freeze() if frozen else layer)(input)

    assert_refused(call, ({}, row[1], row[2]), {"input": row[0].get("input", X)})


@pytest.mark.parametrize(
    "row", [*OF_ANY_LAYER, *(row for row in NAMES if "algorithm" in row[0]), *EXPLAINED], ids=identify
)
def test_explain(row: Row) -> None:
    assert_refused(tc.explain, row, EXPLAIN)


@pytest.mark.parametrize("row", THREADS, ids=identify)
def test_threads(row: Row) -> None:
    before = tc.get_num_threads()
    assert_refused(tc.set_num_threads, row, {})

    def enter(n: Any) -> None:
        with tc.num_threads(n):
            pytest.fail("the block ran")

    assert_refused(enter, row, {})
    assert tc.get_num_threads() == before


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint16])
def test_numpy_integers_are_integers(kind: type[np.integer[Any]]) -> None:
    one, two, three = kind(1), kind(2), kind(3)
    plain = tc.conv2d(X, W, None, (2, 1), ((1, 2), (1, 1)), 1, 2)
    assert np.array_equal(tc.conv2d(X, W, None, (two, one), ((one, two), (one, one)), one, two), plain)
    layer = tc.Conv2d(kind(4), kind(6), three, two, one, one, two, rng=0)
    assert repr(layer) == repr(tc.Conv2d(4, 6, 3, 2, 1, 1, 2))
    assert layer(X).shape == (2, 6, 4, 5)
    explained = tc.explain(tuple(map(kind, X.shape)), tuple(map(kind, W.shape)), groups=two)
    assert explained.output_shape == (2, 6, 6, 7)
    tc.set_num_threads(two)
    assert tc.get_num_threads() == 2


def test_lists_are_pairs_too() -> None:
    plain = tc.conv2d(X, W, None, (2, 1), ((1, 2), (1, 1)), 1, 2)
    assert np.array_equal(tc.conv2d(X, W, None, [2, 1], [[1, 2], [1, 1]], [1, 1], 2), plain)
