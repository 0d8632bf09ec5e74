"""Transposed convolution, function and layer: values, sizes, state, gradients, bits."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import reference
import tileconv as tc
from cases import Array
from checks import assert_accurate, assert_exact, assert_same_bits, forced_isa, supporting
from layouts import LAYOUTS, OUT_LAYOUTS, SENTINEL, arrange, room

Options = dict[str, Any]


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[Array, Array, Array | None], Options]:
    """(input, weight, bias) of small integers, and options that leave an output."""
    pairs = [draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (5, 4, 4)]
    kernel, stride, dilation = pairs
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    output_padding = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    whole = [(n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in zip(size, stride, dilation, kernel, output_padding)]
    padding = tuple(draw(st.integers(0, min(6, (n - 1) // 2))) for n in whole)
    groups, batch = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    in_channels, out_channels = groups * draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng, dtype = np.random.default_rng(draw(st.integers(0, 99))), draw(st.sampled_from([np.float32, np.float64]))

    def integers(*shape: int) -> Array:
        return rng.integers(-4, 5, shape).astype(dtype)

    arrays = (
        integers(batch, in_channels, *size),
        integers(in_channels, out_channels, *kernel),
        integers(out_channels * groups) if draw(st.booleans()) else None,
    )
    options = {"stride": stride, "padding": padding, "output_padding": output_padding}
    return arrays, {**options, "groups": groups, "dilation": dilation}


def layer_of(weight: Array, bias: Array | None, options: Options) -> tc.ConvTranspose2d:
    """The layer with these parameters."""
    channels = len(weight), weight.shape[1] * options["groups"]
    layer = tc.ConvTranspose2d(*channels, weight.shape[2:], **options, bias=bias is not None, dtype=weight.dtype)
    layer.weight, layer.bias = weight, bias
    return layer


@pytest.mark.parametrize("width", [5, 16, 33], ids="width{}".format)
@pytest.mark.parametrize("stride", [(1, 2), (2, 1), (3, 1), (2, 2), (2, 3), (4, 4)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("isa", tc._core.isas())
def test_kernels_side_by_side(stride: tuple[int, int], width: int, isa: str) -> None:
    """A kernel as large as its stride, whose elements are written as blocks of pixels, in guarded memory."""
    rng = np.random.default_rng(0)
    for channels in (1, 8, 20):
        x, w = rng.integers(-4, 5, (2, 3, 4, width)), rng.integers(-4, 5, (3, channels, *stride))
        x, w = x.astype(np.float32), w.astype(np.float32)
        expected = reference.conv_transpose2d(x, w, None, stride=stride)
        backing = np.full(expected.size + 512, SENTINEL, np.float32)
        out = backing[256:-256].reshape(expected.shape)
        with forced_isa(isa):
            tc.conv_transpose2d(x, w, stride=stride, out=out)
        assert_exact(out, expected, f"{channels} channels")
        assert (backing[:256] == SENTINEL).all()
        assert (backing[-256:] == SENTINEL).all()


@settings(max_examples=200)
@given(
    problem=problems(),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 2),
    out_layout=st.sampled_from(OUT_LAYOUTS),
    isa=st.sampled_from(tc._core.isas()),
)
def test_any_problem_in_any_layout(problem: Any, layouts: tuple[str, str], out_layout: str, isa: str) -> None:
    (x, w, b), options = problem
    x, w = arrange(x, layouts[0]), arrange(w, layouts[1])
    what = f"{x.shape} {w.shape} {options} {layouts} {isa}"
    note(what)
    expected = reference.conv_transpose2d(x, w, b, **options)
    with forced_isa(isa):
        y = tc.conv_transpose2d(x, w, b, **options)
        assert (y.dtype, y.flags.c_contiguous) == (x.dtype, True)
        assert_exact(y, expected, what)
        assert_exact(layer_of(w, b, options)(x), expected, what)
        for image, single in zip(x, expected):
            assert_exact(tc.conv_transpose2d(image, w, b, **options), single, what)
        backing, out = room(expected.shape, x.dtype, out_layout)
        assert tc.conv_transpose2d(x, w, b, **options, out=out) is out
    assert_exact(out, expected, what)
    out[...] = SENTINEL
    assert (backing == SENTINEL).all(), f"{what}: wrote outside of out"


@settings(max_examples=150)
@given(problem=problems())
def test_every_algorithm(problem: Any) -> None:
    (x, w, b), options = problem
    expected = reference.conv_transpose2d(x, w, b, **options)
    (pad_h, pad_w), normal = options["padding"], ("output_padding", "groups", "dilation")
    rest = options["stride"], (pad_h, pad_h, pad_w, pad_w), *(options[name] for name in normal)
    for algorithm in tc._core.algorithms():
        try:
            y = tc._core.conv_transpose2d(x, w, b, *rest, None, algorithm)
        except ValueError:
            assert algorithm not in ("shift_gemm", "reference"), "refuses nothing"
        else:
            assert_like = assert_accurate if algorithm in ("winograd", "winograd_rows", "fft") else assert_exact
            assert_like(y, expected, f"{algorithm} {x.shape} {w.shape} {options}")


@settings(max_examples=150)
@given(problem=problems(), batched=st.booleans())
def test_gradients(problem: Any, batched: bool) -> None:
    """Input: the convolution back. Weight: <y, g> is linear in it, so a step changes it by <step, gradient>."""
    (x, w, b), options = problem
    layer = layer_of(w, b, options)
    x = x if batched or len(x) == 0 else x[0]
    g = np.random.default_rng(0).integers(-4, 5, layer(x).shape).astype(x.dtype)
    grads = layer.backward(x, g)
    what = f"{x.shape} {w.shape} {options}"
    geometry = {name: options[name] for name in ("stride", "padding", "dilation", "groups")}
    back = reference.conv2d(g, w, **geometry)[..., : x.shape[-2], : x.shape[-1]]
    assert_exact(grads.input, back, what)
    assert grads.weight.shape == w.shape
    for seed in range(4):
        towards = np.random.default_rng(seed).integers(-4, 5, w.shape)
        change = np.vdot(reference.conv_transpose2d(x, towards, None, **options), g)
        assert np.vdot(towards, grads.weight.astype(np.float64)) == change, what
    if b is None:
        assert grads.bias is None
    else:
        assert grads.bias is not None
        assert_exact(grads.bias, g.sum(axis=tuple({0, g.ndim - 2, g.ndim - 1} - {g.ndim - 3})), what)


def test_gradients_of_output_padding_alone() -> None:
    """A dilation of a single tap allows an output padding that leaves the input's last rows in the padding."""
    layer = tc.ConvTranspose2d(1, 1, 1, padding=3, output_padding=9, dilation=10, rng=0)
    x = np.ones((1, 1, 2, 2), np.float32)
    grads = layer.backward(x, np.ones_like(layer(x)))
    assert_exact(grads.input, np.zeros((1, 1, 2, 2)), "input")
    assert_exact(grads.weight, np.zeros((1, 1, 1, 1)), "weight")


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (5, 1), (4, 4), (6, 2)])
def test_kernels_far_apart(channels: int, groups: int) -> None:
    """Of the residues by the stride only those that a kernel element meets are maps: the others are the bias."""
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 5, (2, channels, 3, 4)).astype(np.float32)
    w = rng.integers(-4, 5, (channels, 2, 3, 2)).astype(np.float32)
    b = np.arange(1, 2 * groups + 1, dtype=np.float32)
    options = {"stride": (100, 7), "padding": (1, 0), "output_padding": (40, 3), "groups": groups}
    y = tc.conv_transpose2d(x, w, b, **options)
    assert_exact(y, reference.conv_transpose2d(x, w, b, **options), "transposed")
    geometry: dict[str, Any] = {"stride": (100, 7), "padding": (1, 0), "groups": groups}
    expected = reference.conv2d_input(y.shape, w, x, **geometry)
    for algorithm in supporting(y, w, pass_="input_gradient", **geometry):
        back = tc.grad.conv2d_input(y.shape, w, x, **geometry, algorithm=algorithm)
        assert_exact(back, expected, algorithm)
    direct = tc.explain(y.shape, w.shape, pass_="input_gradient", **geometry, algorithm="shift_gemm")
    assert dict(direct.blocking)["maps"] == 3 * 2


def test_kernels_far_apart_in_a_reflected_frame() -> None:
    rng = np.random.default_rng(0)
    w, g = rng.integers(-4, 5, (3, 2, 1, 1)).astype(np.float32), rng.integers(-4, 5, (2, 3, 4, 5)).astype(np.float32)
    options: dict[str, Any] = {"stride": 3, "padding": 2, "padding_mode": "reflect"}
    back = tc.grad.conv2d_input((2, 2, 6, 9), w, g, **options)
    assert_exact(back, reference.conv2d_input((2, 2, 6, 9), w, g, **options), "reflect")


def test_it_is_the_adjoint_of_the_convolution() -> None:
    """<conv2d(x), y> = <x, conv_transpose2d(y)> with one and the same weight."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 17, 18)), rng.standard_normal((8, 3, 3, 4))
    options: Options = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2}
    y = rng.standard_normal(tc.conv2d(x, w, **options).shape)
    back = tc.conv_transpose2d(y, w, **options, output_padding=(0, 0))
    grown = np.zeros_like(x)
    grown[..., : back.shape[2], : back.shape[3]] = back
    layer = layer_of(w, None, {**options, "output_padding": 0})
    assert_accurate(layer(y, output_size=x.shape), grown, "output_size")
    assert np.vdot(tc.conv2d(x, w, **options), y) == pytest.approx(np.vdot(x, grown), rel=1e-12)


LAYER: Options = {"in_channels": 6, "out_channels": 4, "kernel_size": (3, 2), "stride": 2, "padding": 1, "groups": 2}
X = np.random.default_rng(0).standard_normal((2, 6, 5, 7)).astype(np.float32)


@pytest.mark.parametrize("size", [(9, 12), (10, 12), (9, 13), (2, 4, 10, 13)])
def test_output_size(size: tuple[int, ...]) -> None:
    layer = tc.ConvTranspose2d(**LAYER, rng=0)
    options = {name: getattr(layer, name) for name in ("stride", "padding", "groups", "dilation")}
    extra = size[-2] - 9, size[-1] - 12
    expected = tc.conv_transpose2d(X, layer.weight, layer.bias, **options, output_padding=extra)
    assert expected.shape[2:] == size[-2:]
    for form in (size, list(size), tuple(map(np.int64, size))):
        assert_same_bits(layer(X, form), expected, f"{size}")
    assert_same_bits(layer(X[0], size[-2:]), expected[0], "unbatched")
    grads = layer.backward(X, expected)
    assert grads.input.shape == X.shape
    assert grads.weight.shape == layer.weight.shape


def test_same_bits_however_asked(isa: str) -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        x = rng.standard_normal((3, 32, 21, 22)).astype(dtype)
        layer = tc.ConvTranspose2d(32, 24, 4, 2, 1, dtype=dtype, rng=1)
        expected, grads = layer(x), layer.backward(x, layer(x))
        for threads in (1, 2, 3):
            tc.set_num_threads(threads)
            assert_same_bits(layer(x), expected, f"{threads} threads")
            for found, wanted in zip(layer.backward(x, expected), grads):
                assert found is not None
                assert wanted is not None
                assert_same_bits(found, wanted, f"{threads} threads")
        assert_same_bits(layer(x[1]), expected[1], "one image")
        for layout in LAYOUTS[:-2]:
            assert_same_bits(layer(arrange(x, layout)), expected, layout)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_non_finite_values_reach_their_outputs_only(isa: str) -> None:
    rng = np.random.default_rng(0)
    options: Options = {"stride": 2, "padding": 1, "output_padding": 1}
    for place in ((0, 0, 0, 0), (1, 5, 4, 6), (0, 3, 2, 3)):
        x, w = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (X.shape, (6, 4, 3, 3)))
        for value in (np.nan, -np.inf):
            x[place] = value
            expected = reference.conv_transpose2d(x, w, None, **options)
            assert_accurate(tc.conv_transpose2d(x, w, **options), expected, f"{value} at {place}")


def test_attributes_and_initial_values() -> None:
    layer = tc.ConvTranspose2d(32, 64, (3, 5), (2, 1), 1, (1, 0), 4, True, 2, dtype=np.float64, rng=1)
    assert repr(layer) == (
        "ConvTranspose2d(32, 64, kernel_size=(3, 5), stride=(2, 1), padding=(1, 1), dilation=(2, 2), "
        "output_padding=(1, 0), groups=4)"
    )
    assert layer.weight.shape == (32, 16, 3, 5)
    assert layer.bias is not None
    assert layer.bias.shape == (64,)
    bound = 1 / np.sqrt(16 * 3 * 5)
    for values in (layer.weight, layer.bias):
        assert values.dtype == np.float64
        assert 0.9 * bound < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
    with pytest.raises(AttributeError, match="output_padding of a ConvTranspose2d"):
        layer.output_padding = (0, 0)
    with pytest.raises(ValueError, match=r"weight.*\(32, 16, 3, 5\)"):
        layer.weight = layer.weight[1:]
    assert np.array_equal(layer.weight, tc.ConvTranspose2d(32, 64, (3, 5), groups=4, dtype=np.float64, rng=1).weight)


@pytest.mark.parametrize(
    "clone", [lambda layer: pickle.loads(pickle.dumps(layer)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deep"]
)
def test_clones_and_state(clone: Any) -> None:
    layer = tc.ConvTranspose2d(**LAYER, rng=0)
    twin = clone(layer)
    assert type(twin) is tc.ConvTranspose2d
    assert repr(twin) == repr(layer)
    assert_same_bits(twin(X), layer(X), "clone")
    assert np.shares_memory(twin.weight, layer.weight) is (clone is copy.copy)
    other = tc.ConvTranspose2d(**LAYER, rng=1)
    other.load_state_dict(layer.state_dict())
    assert_same_bits(other(X), layer(X), "loaded")
    with pytest.raises(ValueError, match=r'loading state_dict for ConvTranspose2d:\n.*Missing key.*"bias"'):
        other.load_state_dict({"weight": layer.weight})
