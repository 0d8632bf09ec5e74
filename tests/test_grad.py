"""Gradients against the float64 reference, the adjoint identities and finite differences; layers' `backward`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from operator import attrgetter

import numpy as np
import pytest
from hypothesis import event, given, note, settings
from hypothesis import strategies as st

import tileconv as tc
from cases import BY_NAME, CASES, DTYPES, MODES, Array, Case
from checks import ERROR_BOUND, assert_accurate, assert_exact, assert_same_bits, forced_isa, is_exact, plan, runs
from gradients import PASSES, Operands, gradient_runs, integers, normals
from layouts import LAYOUTS, OUT_LAYOUTS, SENTINEL, arrange, room
from test_hypothesis import cases

each_case = pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
each_pass = pytest.mark.parametrize("pass_", PASSES)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@cache
def problem(case: Case, pass_: str, values: str) -> tuple[Operands, Array]:
    """Read-only operands and the expected gradient, kept for the other instruction sets."""
    operands = integers(case) if values == "integers" else normals(case)
    for array in operands:
        array.flags.writeable = False
    return operands, operands.expected(pass_, case.options)


@each_pass
@each_case
def test_small_integers_are_exact(case: Case, pass_: str, isa: str) -> None:
    tried = set()
    for typed in (replace(case, dtype=name) for name in DTYPES):
        operands, expected = problem(typed, pass_, "integers")
        for label, found, run in gradient_runs(typed, pass_, operands):
            assert found.output_shape == expected.shape, label
            if not is_exact(found):
                continue
            tried.add(found.algorithm)
            out = np.full(expected.shape, np.nan, operands.x.dtype)
            assert run(out) is out
            assert_exact(out, expected, label)
    assert "reference" in tried


@each_pass
@each_case
def test_normal_values_are_accurate(case: Case, pass_: str, isa: str) -> None:
    for typed in (replace(case, dtype=name) for name in DTYPES):
        operands, expected = problem(typed, pass_, "normals")
        for label, _, run in gradient_runs(typed, pass_, operands):
            grads = run()
            assert (grads.dtype, grads.flags.c_contiguous, grads.flags.writeable) == (operands.x.dtype, True, True)
            assert_accurate(grads, expected, label)


@each_pass
def test_auto_takes_no_plain_loops(pass_: str) -> None:
    for case in CASES:
        found = plan(case, pass_=pass_)
        work = case.fan_in * np.prod(integers(case).g.shape)
        assert found.algorithm != "reference" or work < 1000, case


@settings(max_examples=250)
@given(
    case=cases(),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    out_layout=st.sampled_from([None, *OUT_LAYOUTS]),
    batched=st.booleans(),
    isa=st.sampled_from(tc._core.isas()),
    seed=st.integers(0, 99),
)
def test_any_problem_in_any_layout(
    case: Case, layouts: tuple[str, ...], out_layout: str | None, batched: bool, isa: str, seed: int
) -> None:
    note(str(case))
    event(case.padding_mode)
    operands = Operands(*map(arrange, integers(case, seed), layouts))
    before = [array.tobytes() for array in operands]
    drop_batch = not batched and case.batch == 1
    asked = Operands(operands.x[0], operands.w, operands.g[0]) if drop_batch else operands
    with forced_isa(isa):
        for pass_ in PASSES:
            expected = operands.expected(pass_, case.options).reshape(asked.shape(pass_))
            for label, found, run in gradient_runs(case, pass_, asked):
                if not is_exact(found):
                    continue
                if out_layout is None:
                    assert_exact(run(), expected, label)
                    continue
                backing, out = room(expected.shape, operands.x.dtype, out_layout)
                out[...] = np.nan
                assert run(out) is out
                assert_exact(out, expected, label)
                out[...] = SENTINEL
                assert (backing == SENTINEL).all(), f"{label}: wrote outside of out"
    assert [array.tobytes() for array in operands] == before


@settings(max_examples=100)
@given(case=cases(), seed=st.integers(0, 99))
def test_public_functions_and_layer_agree(case: Case, seed: int) -> None:
    operands = integers(case, seed)
    expected = [operands.expected(pass_, case.options) for pass_ in PASSES]
    for pass_, grads in zip(PASSES, expected):
        assert_exact(operands.public(pass_, **case.options), grads, f"{case} {pass_}")
    sizes = case.in_channels, case.out_channels, case.kernel
    layer = tc.Conv2d(*sizes, **case.options, bias=case.bias, dtype=operands.x.dtype)
    layer.weight[...] = operands.w
    for backward in (layer.backward, layer.freeze().backward):
        found = backward(operands.x, operands.g)
        assert isinstance(found, tc.Conv2dGrads)
        assert_exact(found.input, expected[0], str(case))
        assert_exact(found.weight, expected[1], str(case))
        if case.bias:
            assert found.bias is not None
            assert_exact(found.bias, operands.g.sum(axis=(0, 2, 3), dtype=np.float64), str(case))
        else:
            assert found.bias is None


IDENTITIES = [
    "resnet.3x3.s2",
    "depthwise.5x5",
    "grouped.odd",
    "asymmetric.all",
    "image.31x31",
    *[f"pad.{mode}.{kind}" for mode in MODES for kind in ("sides", "s2d2", "depthwise", "same")],
]


@dtypes
@pytest.mark.parametrize("name", IDENTITIES)
def test_adjoint_identities(name: str, dtype: str, isa: str) -> None:
    """<conv(x; w), g> = <x, input_gradient(w, g)> = <w, weight_gradient(x, g)> up to rounding."""
    case = replace(BY_NAME[name], dtype=dtype, bias=False)
    operands = normals(case)
    x, w, g = (array.astype(np.float64) for array in operands)
    by_output = {label: np.vdot(run(operands.x), g) for label, _, run in runs(case, operands.w, None)}
    for pass_, other in zip(PASSES, (x, w)):
        bound = (
            ERROR_BOUND[operands.x.dtype]
            * np.linalg.norm(other)
            * np.linalg.norm(operands.public(pass_, **case.options))
        )
        for label, _, run in gradient_runs(case, pass_, operands):
            for forward, y in by_output.items():
                assert abs(np.vdot(other, run()) - y) <= bound, f"{label}\n{forward}"


@pytest.mark.parametrize("out_channels", [3, 64])
def test_weight_gradient_of_a_cropped_grad_output(out_channels: int, isa: str) -> None:
    """A 1x1 kernel makes an image one long row, which the rows of a crop are not."""
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (2, 5, 14, 13)).astype(np.float32)
    crop = rng.integers(-3, 4, (2, out_channels, 20, 23)).astype(np.float32)[:, :, 2:16, 3:16]
    found = tc.grad.conv2d_weight(x, (out_channels, 5, 1, 1), crop)
    assert np.array_equal(found, np.einsum("nkyx,ncyx->kc", crop, x)[:, :, None, None])


@pytest.mark.parametrize("mode", MODES)
def test_finite_differences(mode: str) -> None:
    """Of the loss sum(g * y**2 / 2), by every single element of input, weight and bias."""
    case = Case.parse(f"b2 ic4 ih6 iw5 oc4 kh3 kw2 sh2 sw1 dh1 dw2 g2 pt2 pb1 pl1 pr2 f64 {mode} bias")
    layer = tc.Conv2d(4, 4, case.kernel, **case.options, dtype=np.float64, rng=0)
    x, _, g = normals(case)
    assert layer.bias is not None
    grads = layer.backward(x, g * layer(x))
    step = 1e-5
    for array, gradient in zip((x, layer.weight, layer.bias), grads):
        assert gradient is not None
        for place in np.ndindex(array.shape):
            value, losses = array[place], []
            for array[place] in (value - step, value + step):
                losses.append(np.sum(g * layer(x) ** 2) / 2)
            array[place] = value
            # The loss is quadratic in each element, so a central difference has rounding errors alone.
            assert (losses[1] - losses[0]) / (2 * step) == pytest.approx(gradient[place], rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", ["pad.reflect.s2d2", "depthwise.x3", "grouped.odd", "asymmetric.all"])
def test_second_derivatives_compose(name: str) -> None:
    """The formulas of `tileconv.grad`, against central differences of <u, conv2d_input> + <v, conv2d_weight>."""
    case = replace(BY_NAME[name], dtype="f64")
    (x, w, g), (u, v, _), options = normals(case), normals(case, seed=1), case.options

    def loss(x: Array, w: Array, g: Array) -> float:
        by_input, by_weight = (
            tc.grad.conv2d_input(x.shape, w, g, **options),
            tc.grad.conv2d_weight(x, w.shape, g, **options),
        )
        return float(np.vdot(u, by_input) + np.vdot(v, by_weight))

    second = Operands(
        tc.grad.conv2d_input(x.shape, v, g, **options),
        tc.grad.conv2d_weight(u, w.shape, g, **options),
        tc.conv2d(u, w, **options) + tc.conv2d(x, v, **options),
    )
    for at, (towards, gradient) in enumerate(zip(normals(case, seed=2), second)):
        ahead, back = list((x, w, g)), list((x, w, g))
        ahead[at], back[at] = ahead[at] + towards, back[at] - towards
        # The loss is linear in each operand: any step does.
        assert (loss(*ahead) - loss(*back)) / 2 == pytest.approx(np.vdot(towards, gradient), rel=1e-9)


SUMS = [(1, 1, 1, 1), (3, 5, 7, 7), (0, 4, 5, 5), (2, 3, 0, 4), (16, 3, 33, 64), (5, 8, 9), (1, 2, 300, 311)]


@dtypes
@pytest.mark.parametrize("layout", OUT_LAYOUTS)
@pytest.mark.parametrize("shape", SUMS, ids=str)
def test_bias(shape: tuple[int, ...], layout: str, dtype: str) -> None:
    """Positive values, the worst case for a running sum."""
    values = np.random.default_rng(0).random(shape).astype(DTYPES[dtype])
    g = arrange(values, layout)
    expected = g.astype(np.float64 if dtype == "f32" else np.longdouble).sum(
        axis=tuple({0, g.ndim - 2, g.ndim - 1} - {g.ndim - 3})
    )
    bound = 1e-6 if dtype == "f32" else 1e-14
    assert_accurate(tc.grad.conv2d_bias(g), expected, f"{shape} {layout}", bound)
    out = np.full(2 * shape[-3], np.nan, g.dtype)[::2]
    assert tc.grad.conv2d_bias(g, out=out) is out
    assert_same_bits(out, tc.grad.conv2d_bias(g), "out")


def test_bias_of_special_values() -> None:
    g = np.zeros((2, 5, 3, 3), np.float32)
    g[0, 0, 1, 1], g[1, 1, 0, 0], g[0, 2, 0, 0], g[1, 2, 2, 2], g[:, 3] = np.nan, np.inf, np.inf, -np.inf, 3e38
    assert np.array_equal(tc.grad.conv2d_bias(g), [np.nan, np.inf, np.nan, np.inf, 0], equal_nan=True)
