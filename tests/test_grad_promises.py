"""What gradients promise: the same bits however they are asked for, NaN and Inf in their place, bounded workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

import tileconv as tc
from cases import BY_NAME, CASES, DTYPES, Array, Case
from checks import assert_accurate, assert_same_bits, plan
from gradients import PASSES, Operands, gradient_runs, integers, normals
from layouts import LAYOUTS, OUT_LAYOUTS, arrange, room
from test_promises import NON_FINITE, SMALL, SPECIAL, SPLIT, places
from test_resources import LARGE, MEASURE, linux, output_of

dtypes = pytest.mark.parametrize("dtype", DTYPES)
each_pass = pytest.mark.parametrize("pass_", PASSES)


def askings(case: Case, g: Array) -> Iterator[tuple[str, Array, int]]:
    """(description, gradient of the output, index of the image in it): the image's `g` in every company and layout."""
    others = normals(case, seed=1).g, normals(case, seed=2).g
    for batch, index in (((g, *others), 0), ((others[0], g, *others, *others), 1)):
        yield f"image {index} of {len(batch)}", np.concatenate(batch), index
    for layout in LAYOUTS:
        if layout != "broadcast":
            yield f"{layout} grad_output", arrange(np.concatenate([others[0], g]), layout), 1


def assert_same_bits_however_asked(case: Case, algorithms: Sequence[str]) -> None:
    operands = normals(case)
    x, w, g = operands
    for pass_ in PASSES:
        first: dict[str, Array] = {}
        for label, found, run in gradient_runs(case, pass_, operands, algorithms):
            tc.set_num_threads(1)
            expected = first.setdefault(found.algorithm, run())
            for threads in (1, 2, 3):
                tc.set_num_threads(threads)
                assert_same_bits(run(), expected, f"{label}, {threads} threads")
            for layout in OUT_LAYOUTS:
                out = room(expected.shape, x.dtype, layout)[1]
                assert_same_bits(run(out), expected, f"{label}, {layout} out")
            if pass_ == "weight_gradient":
                continue
            for asking, batch, index in askings(case, g):
                asked = Operands(np.broadcast_to(x, (len(batch), *x.shape[1:])), w, batch)
                _, _, run = next(gradient_runs(replace(case, batch=len(batch)), pass_, asked, [found.algorithm]))
                assert_same_bits(run()[index : index + 1], expected, f"{label}, {asking}")


@dtypes
@pytest.mark.parametrize("descriptor", SPLIT)
def test_same_bits_however_asked(descriptor: str, dtype: str, isa: str) -> None:
    assert_same_bits_however_asked(replace(Case.parse(descriptor), dtype=dtype, bias=False), ["auto"])


@dtypes
@pytest.mark.parametrize("name", [*SMALL, "large.deep", "dense.weights", "depthwise.x3"])
def test_same_bits_of_every_algorithm(name: str, dtype: str, isa: str) -> None:
    case = replace(BY_NAME[name], dtype=dtype, batch=1, bias=False)
    assert_same_bits_however_asked(case, ["auto"] if name.startswith("large") else tc._core.algorithms())


def test_threads_are_really_used() -> None:
    """Otherwise the tests above compare one thread with itself."""
    tc.set_num_threads(3)
    for pass_ in PASSES:
        found = [plan(replace(Case.parse(descriptor), bias=False), pass_=pass_) for descriptor in SPLIT]
        assert sum(one.threads > 1 for one in found) >= len(SPLIT) // 2, pass_


def test_bits_of_the_bias_gradient() -> None:
    """Summed on the caller's thread, each channel by itself."""
    g = normals(Case.parse("b3 ic1 ih40 oc8 kh3")).g
    expected = tc.grad.conv2d_bias(g)
    for threads in (1, 2, 3):
        tc.set_num_threads(threads)
        assert_same_bits(tc.grad.conv2d_bias(g), expected, f"{threads} threads")


def test_unbatched_is_a_batch_of_one() -> None:
    for case in (case for case in CASES if case.batch == 1):
        batched = normals(case)
        single = Operands(batched.x[0], batched.w, batched.g[0])
        for pass_ in PASSES:
            expected = batched.public(pass_, **case.options).reshape(single.shape(pass_))
            assert_same_bits(single.public(pass_, **case.options), expected, f"{case} {pass_}")


@pytest.mark.filterwarnings("ignore:invalid value")
@each_pass
@dtypes
@pytest.mark.parametrize("name", NON_FINITE)
def test_non_finite_values_reach_their_gradients_only(name: str, dtype: str, pass_: str, isa: str) -> None:
    """A gradient is NaN or Inf exactly where a product that it sums is: 0 * NaN and 0 * Inf are.

    So a zero of the padding counts as a factor in the weight's gradient. Of the input's gradient only `grad_output` is
    tried: whether a tap beyond its edge is a product with zero, or none, is open where the weight is not finite.
    """
    case = replace(BY_NAME[name], dtype=dtype, bias=False)
    clean = integers(case)
    for kind in ("nan", "-inf"):
        for operand in ("g",) if pass_ == "input_gradient" else ("x", "g"):
            for place in places(getattr(clean, operand).shape):
                array = getattr(clean, operand).copy()
                array[place] = SPECIAL[kind]
                operands = clean._replace(**{operand: array})
                expected = operands.expected(pass_, case.options)
                for label, _, run in gradient_runs(case, pass_, operands):
                    assert_accurate(run(), expected, f"{label}\n{kind} at {list(place)} of {operand}")


@pytest.mark.filterwarnings("ignore:invalid value")
@each_pass
@pytest.mark.parametrize("name", NON_FINITE)
def test_non_finite_values_meet(name: str, pass_: str, isa: str) -> None:
    """Inf - Inf, 0 * Inf, NaN beside Inf: several special values at once."""
    case = replace(BY_NAME[name], bias=False)
    rng = np.random.default_rng(7)
    operands = integers(case)
    for array in (operands.x, operands.g):
        if array.size:
            array.flat[rng.integers(0, array.size, 3)] = rng.choice(list(SPECIAL.values()), 3)
    expected = operands.expected(pass_, case.options)
    for label, _, run in gradient_runs(case, pass_, operands):
        assert_accurate(run(), expected, f"{label}\nseveral special values")


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (0, 3, 0, 8)])
def test_empty_batch(shape: tuple[int, ...]) -> None:
    x, w, options = np.zeros(shape, np.float32), np.zeros((5, 3, 3, 3), np.float32), {"padding": (2, 1), "stride": 2}
    g = tc.conv2d(x, w, **options)
    assert tc.grad.conv2d_input(shape, w, g, **options).shape == shape
    assert not tc.grad.conv2d_weight(x, w.shape, g, **options).any()
    assert not tc.grad.conv2d_bias(g).any()


@each_pass
@pytest.mark.parametrize("descriptor", LARGE)
def test_workspace_is_bounded_and_independent_of_the_batch(descriptor: str, pass_: str, isa: str) -> None:
    case = Case.parse(descriptor)
    tc.set_num_threads(1)
    sizes = [plan(replace(case, batch=batch), pass_=pass_).workspace_bytes for batch in (1, 3, 64)]
    assert sizes == sizes[:1] * 3
    assert 0 <= sizes[0] <= 8 << 20


@linux
@pytest.mark.parametrize("threads", [1, 2])
@each_pass
def test_peak_beyond_the_arrays(pass_: str, threads: int) -> None:
    """One call on 64 channels of 224 x 224; writing 5 to clear_refs resets the high-water mark."""
    code = f"""
x, g, out = (np.ones((1, 64, 224, 224), np.float32) for _ in range(3))
w, grad = np.ones((64, 64, 3, 3), np.float32), np.ones((64, 64, 3, 3), np.float32)
tc.Conv2d(2, 2, 3).backward(x[:, :2, :8, :8], g[:, :2, :6, :6])
try:
    open("/proc/self/clear_refs", "w").write("5")
except OSError:
    print(-1)
    raise SystemExit
before = memory("VmRSS")
if "{pass_}" == "input_gradient":
    tc.grad.conv2d_input(x.shape, w, g, padding=1, out=out)
else:
    tc.grad.conv2d_weight(x, w.shape, g, padding=1, out=grad)
print(memory("VmHWM") - before)
"""
    peak = int(output_of(MEASURE + code, TILECONV_NUM_THREADS=str(threads)))
    if peak < 0:
        pytest.skip("the high-water mark cannot be reset")
    assert peak < 8 << 20
