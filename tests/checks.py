"""Every way to run one case, and comparisons whose failure says where and by how much."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import reference
import tileconv as tc
from cases import DTYPES, Array, Case
from tileconv import _core

Run = Callable[..., Array]

ALGORITHMS = ("auto", *_core.algorithms())
ERROR_BOUND = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-13}
"""Of max|y - y64| / max|y64| on N(0, 1) inputs with N(0, 1 / fan_in) weights."""


@contextmanager
def forced_isa(name: str) -> Iterator[None]:
    previous = _core.get_isa()
    _core.set_isa(name)
    try:
        assert _core.get_isa() == name
        yield
    finally:
        _core.set_isa(previous)


def core_options(case: Case) -> tuple[Any, ...]:
    """stride, padding, dilation, groups and mode in the normal form the core takes."""
    return case.stride, case.padding, case.dilation, case.groups, case.padding_mode


def plan(case: Case, algorithm: str = "auto", frozen: bool = False, pass_: str = "forward") -> tc.Explanation:
    """What `explain` says of the case."""
    shapes, dtype = (case.input_shape, case.weight_shape), DTYPES[case.dtype]
    asked = {"algorithm": algorithm, "frozen": frozen, "pass_": pass_}
    found = tc.explain(*shapes, case.bias, **case.options, dtype=dtype, **asked)
    assert found.pass_ == pass_
    assert found.isa == _core.get_isa()
    assert algorithm in ("auto", found.algorithm)
    return found


def plan_or_refusal(case: Case, algorithm: str, frozen: bool = False, pass_: str = "forward") -> tc.Explanation | None:
    """None where the named algorithm refuses the case, which it must give a reason for."""
    try:
        return plan(case, algorithm, frozen, pass_)
    except ValueError as error:
        refusal = str(error)
    assert algorithm not in ("auto", "reference"), f"{algorithm} has to support everything, but: {refusal}"
    assert algorithm in refusal
    assert len(re.findall(r"\w+", refusal.replace(algorithm, ""))) >= 3, f"no reason given: {refusal}"
    return None


def supported(algorithm: str) -> Case:
    """A case that the named algorithm supports, its output small beside the work.

    It is of planes under a large kernel, of single taps, or of a dilation of half the image.
    """
    lines = ("ic64 ih32 oc64 kh15 g64", "ic1024 ih14 oc64 kh1", "ic256 ih28 oc32 kh3 p14 d14")
    return next(case for case in map(Case.parse, lines) if plan_or_refusal(case, algorithm))


def supporting(x: Array, w: Array, **problem: Any) -> list[str]:
    """'auto', and the algorithms that it had to choose among."""
    rejected = tc.explain(x.shape, w.shape, **problem, dtype=x.dtype).rejected
    return [a for a in ALGORITHMS if rejected.get(a, "estimated slower").startswith("estimated slower")]


def runs(
    case: Case, weight: Array, bias: Array | None, algorithms: Sequence[str] = ALGORITHMS
) -> Iterator[tuple[str, tc.Explanation, Run]]:
    """(label, plan, run) of every algorithm that supports the case, with fresh and with frozen weights.

    `run(input, out=None)` computes; the label goes into the failure report.
    """
    for algorithm in algorithms:
        for frozen in (False, True):
            if (found := plan_or_refusal(case, algorithm, frozen)) is None:
                continue
            label = f"{case} | {algorithm} on {found.isa}{', frozen' if frozen else ''}"
            yield label, found, _run(case, weight, bias, algorithm, frozen)


def _run(case: Case, weight: Array, bias: Array | None, algorithm: str, frozen: bool) -> Run:
    options = core_options(case)
    if frozen:
        layer = _core.FrozenConv2d(weight, bias, *options)
        return lambda input, out=None: layer.run(input, out, algorithm)
    return lambda input, out=None: _core.conv2d(input, weight, bias, *options, out, algorithm)


def assert_every_run(case: Case, algorithms: Sequence[str], output: tuple[int, int], seed: int) -> None:
    """Normal values, with outputs of that height and width prefilled with NaN, come out accurate."""
    x, w, b = case.normals(seed)
    expected = reference.conv2d(x, w, b, **case.options)
    assert expected.shape[2:] == output
    found = list(runs(case, w, b, algorithms))
    assert found, f"no plan for {case}"
    for label, _, run in found:
        assert_accurate(run(x, np.full(expected.shape, np.nan, x.dtype)), expected, label)


def is_exact(found: tc.Explanation) -> bool:
    """Whether the planned algorithm promises exact sums of small integers."""
    return "exact" in found.accuracy


def _expect(wrong: Array, actual: Array, expected: Array, what: str) -> None:
    """Fail with the count, the first place, its values, and the box that holds every wrong place."""
    if not wrong.any():
        return
    places = np.argwhere(wrong)
    first = tuple(int(i) for i in places[0])
    box = ", ".join(f"{low}..{high}" for low, high in zip(places.min(0), places.max(0)))
    raise AssertionError(
        f"{what}\n{len(places)} of {wrong.size} outputs are wrong, all within [{box}]; the first is {list(first)}: "
        f"got {actual[first]!r}, expected {expected[first]!r}"
    )


def _same_form(actual: Array, expected: Array, what: str) -> None:
    assert isinstance(actual, np.ndarray), what
    assert actual.shape == expected.shape, f"{what}\nshape {actual.shape}, expected {expected.shape}"


def assert_exact(actual: Array, expected: Array, what: str) -> None:
    """Equal numbers; an unwritten NaN is not equal to anything."""
    _same_form(actual, expected, what)
    _expect(actual != expected, actual, expected, what)


def assert_same_bits(actual: Array, expected: Array, what: str) -> None:
    _same_form(actual, expected, what)
    assert actual.dtype == expected.dtype, what
    unsigned = f"u{actual.dtype.itemsize}"
    bits = (np.ascontiguousarray(array).view(unsigned) for array in (actual, expected))
    _expect(np.not_equal(*bits), actual, expected, what)


def assert_accurate(actual: Array, expected: Array, what: str, bound: float | None = None) -> None:
    """Non-finite values agree in kind and place; the finite ones to `bound` of the largest."""
    _same_form(actual, expected, what)
    bound = ERROR_BOUND[actual.dtype] if bound is None else bound
    finite = np.isfinite(expected)
    scale = np.abs(expected[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        close = np.abs(actual - expected) <= bound * scale
    same_kind = np.isnan(actual) & np.isnan(expected) | (actual == expected)
    _expect(~np.where(finite, close, same_kind), actual, expected, f"{what}\nbound {bound:g} of {scale:g}")
