"""Random problems over the whole argument space, in random memory layouts, exactly against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import event, given, note
from hypothesis import strategies as st

import reference
import tileconv as tc
from cases import MODES, Case
from checks import assert_accurate, assert_exact, forced_isa, is_exact, plan, runs
from layouts import LAYOUTS, OUT_LAYOUTS, SENTINEL, arrange, room


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Sizes follow from the rest, so that nothing is drawn only to be thrown away."""
    mode, groups = draw(st.sampled_from(MODES)), draw(st.integers(1, 4))
    kernel, stride, dilation = (draw(st.tuples(st.integers(1, n), st.integers(1, n))) for n in (7, 4, 4))
    padding: Any = draw(st.sampled_from(["sides", "sides", "valid", "same", "same_upper", "same_lower"]))
    if padding == "same":
        stride = (1, 1)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    if padding == "sides":
        padding = draw(st.tuples(*[st.integers(0, 10)] * 4))
        pads = [padding[:2], padding[2:]]
    else:
        # The most a name can resolve to, whatever the size.
        pads = [(0, 0) if padding == "valid" else (e // 2, e // 2) for e in extent]
    need = {"zeros": 0, "replicate": 1, "symmetric": 1, "reflect": 1, "circular": 0}[mode]
    follows = mode in ("reflect", "circular", "symmetric")
    size = []
    for e, p in zip(extent, pads):
        enough = 1 if str(padding).startswith("same") else e - sum(p)
        low = max(enough, need + max(p) * follows, 0 if mode == "zeros" else 1)
        size.append(low + draw(st.integers(0, 24)))
    icg, ocg = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    sizes = (groups * icg, *size, groups * ocg)
    dtype, batch, bias = draw(st.sampled_from(["f32", "f64"])), draw(st.integers(0, 3)), draw(st.booleans())
    return Case("drawn", *sizes, kernel, stride, padding, dilation, groups, mode, bias, batch, dtype)


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
    drop_batch = not batched and case.batch == 1
    x, w, b = (
        None if values is None else arrange(values, layout) for values, layout in zip(case.integers(seed), layouts)
    )
    assert x is not None
    assert w is not None
    expected = reference.conv2d(x, w, b, **case.options)
    before = [array.tobytes() for array in (x, w)]
    with forced_isa(isa):
        for label, found, run in runs(case, w, b):
            if not is_exact(found):
                continue
            if out_layout is None:
                y = run(x[0] if drop_batch else x)
                assert_exact(y, expected[0] if drop_batch else expected, label)
                continue
            backing, out = room(expected.shape, x.dtype, out_layout)
            out[...] = np.nan
            target = out[0] if drop_batch else out
            assert run(x[0] if drop_batch else x, target) is target
            assert_exact(out, expected, label)
            out[...] = SENTINEL
            assert (backing == SENTINEL).all(), f"{label}: wrote outside of out"
    assert [array.tobytes() for array in (x, w)] == before


@given(case=cases(), seed=st.integers(0, 99))
def test_public_functions_agree(case: Case, seed: int) -> None:
    """`conv2d` and a frozen `Conv2d` bring every form of the arguments to the same problem."""
    x, w, b = case.integers(seed)
    expected = reference.conv2d(x, w, b, **case.options)
    assert_as_promised = assert_exact if is_exact(plan(case)) else assert_accurate
    assert_as_promised(tc.conv2d(x, w, b, **case.options), expected, str(case))
    layer = tc.Conv2d(case.in_channels, case.out_channels, case.kernel, **case.options, bias=case.bias, dtype=x.dtype)
    layer.weight[...] = w
    if layer.bias is not None:
        layer.bias[...] = b
    assert_as_promised(layer(x), expected, str(case))
    layer.freeze()
    assert_as_promised(layer(x), expected, str(case))
