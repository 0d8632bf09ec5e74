"""The yardstick itself, against the definition written as loops over scalars; and the descriptors of the cases."""

from __future__ import annotations

from itertools import product
from operator import attrgetter

import numpy as np
import pytest

import reference
from cases import BY_NAME, CASES, MODES, Array, Case

SMALL = [case for case in CASES if 0 < np.prod(case.input_shape) * case.fan_in * case.out_channels < 4e4]


def source(i: int, size: int, mode: str) -> int | None:
    """The index that padded coordinate `i` (0 is the first real element) reads; None is a zero."""
    if 0 <= i < size:
        return i
    if mode == "zeros":
        return None
    if mode == "replicate":
        return min(max(i, 0), size - 1)
    if mode == "circular":
        return i % size
    period = 2 * size if mode == "symmetric" else 2 * size - 2
    i %= period
    return i if i < size else period - i - (mode == "symmetric")


def by_definition(case: Case, x: Array, w: Array, b: Array | None) -> Array:
    pads = reference.sides(case.options["padding"], (case.in_h, case.in_w), case.kernel, case.stride, case.dilation)
    size = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, k, s, d in zip(x.shape[2:], pads, case.kernel, case.stride, case.dilation)
    ]
    y = np.zeros((case.batch, case.out_channels, *size))
    group_in, group_out = case.in_channels // case.groups, case.out_channels // case.groups
    for n, k, row, column in np.ndindex(y.shape):
        y[n, k, row, column] = 0.0 if b is None else b[k]
        for c, i, j in product(range(group_in), *map(range, case.kernel)):
            h = source(row * case.stride[0] + i * case.dilation[0] - pads[0][0], case.in_h, case.padding_mode)
            v = source(column * case.stride[1] + j * case.dilation[1] - pads[1][0], case.in_w, case.padding_mode)
            if h is not None and v is not None:
                y[n, k, row, column] += x[n, k // group_out * group_in + c, h, v] * w[k, c, i, j]
    return y


@pytest.mark.parametrize("case", SMALL, ids=attrgetter("name"))
def test_reference_is_the_definition(case: Case) -> None:
    x, w, b = case.integers()
    assert np.array_equal(reference.conv2d(x, w, b, **case.options), by_definition(case, x, w, b))


def test_small_cases_cover_every_mode() -> None:
    assert {case.padding_mode for case in SMALL} == set(MODES)


def test_reference_resolves_every_form_of_padding() -> None:
    resolve = reference.sides
    assert resolve(2, (5, 5), (3, 3)) == ((2, 2), (2, 2))
    assert resolve((1, 2), (5, 5), (3, 3)) == ((1, 1), (2, 2))
    assert resolve(((1, 2), (3, 4)), (5, 5), (3, 3)) == ((1, 2), (3, 4))
    assert resolve("valid", (5, 5), (3, 3)) == ((0, 0), (0, 0))
    assert resolve("same", (5, 5), (4, 3), 1, (1, 2)) == ((1, 2), (2, 2))
    assert resolve("same_upper", (5, 6), (4, 3), 2) == ((1, 2), (0, 1))
    assert resolve("same_lower", (5, 6), (4, 3), 2) == ((2, 1), (1, 0))


def test_reference_lets_nan_and_inf_through_zeros() -> None:
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 0, 0] = np.inf
    y = reference.conv2d(x, np.zeros((1, 1, 3, 3)), padding=1)[0, 0]
    assert np.array_equal(np.isnan(y), [[True, True, False], [True, True, False], [False, False, False]])


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_descriptor_is_read_as_printed(case: Case) -> None:
    assert Case.parse(str(case), case.name) == case


def test_descriptor_wording() -> None:
    text = "b1 ic64 ih56 oc64 kh3 p1 f32 zeros"
    assert str(Case.parse(text)) == text == Case.parse(text).name
    assert str(BY_NAME["asymmetric.all"]) == (
        "b2 ic6 ih13 iw18 oc8 kh2 kw5 sh3 sw2 pt3 pb1 pl0 pr4 dh3 dw1 g2 f32 zeros bias"
    )
    for text, missing in (("ic1 ih5 oc1 kx3", "kx3"), ("ic1 ih5 oc1 p1", "kh")):
        with pytest.raises(ValueError, match=missing):
            Case.parse(text)
