"""The layer `Conv2d`: freezing, copies, state, assignment, initial values, plans, threads."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import BY_NAME, CASES, Array, Case
from checks import assert_accurate, assert_same_bits, forced_isa
from layouts import room
from test_resources import MEASURE, linux, output_of

LAYER: dict[str, Any] = {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2), "padding": 1, "groups": 2}
X = np.random.default_rng(0).standard_normal((2, 4, 8, 9)).astype(np.float32)
CLONES = {
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "newest pickle": lambda layer: pickle.loads(pickle.dumps(layer, protocol=pickle.HIGHEST_PROTOCOL)),
    "oldest pickle": lambda layer: pickle.loads(pickle.dumps(layer, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def expected(layer: tc.Conv2d, x: Array = X) -> Array:
    options = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")}
    return reference.conv2d(x, layer.weight, layer.bias, **options)


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_frozen_and_fresh_layers_have_the_same_bits(case: Case) -> None:
    layer = tc.Conv2d(case.in_channels, case.out_channels, case.kernel, **case.options, bias=case.bias, rng=3)
    x = case.normals()[0]
    fresh = layer(x)
    assert_accurate(fresh, expected(layer, x), str(case))
    assert layer.freeze() is layer
    assert_same_bits(layer(x), fresh, str(case))
    assert_same_bits(layer(x), fresh, f"{case}, second call")


def test_frozen_arrays_refuse_writes_until_unfrozen() -> None:
    layer = tc.Conv2d(**LAYER, rng=0)
    before = layer(X)
    weight, bias = layer.weight, layer.bias
    assert bias is not None
    layer.freeze()
    for array in (weight, bias, layer.weight, layer.bias):
        with pytest.raises(ValueError, match="assignment destination is read-only"):
            array[...] = 0
    with pytest.raises(ValueError, match="read-only"):
        layer.weight += 1
    with pytest.raises(ValueError, match="frozen"):
        layer.weight = np.zeros_like(weight)
    with pytest.raises(ValueError, match="frozen"):
        layer.load_state_dict(tc.Conv2d(**LAYER).state_dict())
    assert_same_bits(layer(X), before, "frozen")

    assert layer.unfreeze() is layer
    assert layer.weight is weight
    assert layer.bias is bias
    layer.weight[...] = 2
    bias[...] = -1
    assert_accurate(layer(X), expected(layer), "written after unfreeze")
    assert not np.array_equal(layer(X), before)
    layer.freeze()
    assert_accurate(layer(X), expected(layer), "frozen with new weights")


def test_freezing_twice_is_freezing_once() -> None:
    layer = tc.Conv2d(**LAYER).freeze().freeze()
    layer.unfreeze()
    layer.weight[...] = 1
    layer.unfreeze()
    assert_accurate(layer(X), expected(layer), "unfrozen twice")


def test_weights_read_only_before_stay_so() -> None:
    layer = tc.Conv2d(**LAYER)
    layer.weight.flags.writeable = False
    layer.freeze().unfreeze()
    assert not layer.weight.flags.writeable
    assert layer.bias is not None
    assert layer.bias.flags.writeable


def test_writes_in_place_reach_the_next_call() -> None:
    layer = tc.Conv2d(**LAYER)
    for value in (1, 2, 3):
        layer.weight[...] = value
        assert_accurate(layer(X), expected(layer), f"weights of {value}")


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
@pytest.mark.parametrize("clone", CLONES.values(), ids=CLONES)
def test_clones(clone: Any, frozen: bool) -> None:
    layer = tc.Conv2d(**LAYER, padding_mode="replicate", stride=(2, 1), rng=0)
    if frozen:
        layer.freeze()
    twin = clone(layer)
    assert repr(twin) == repr(layer)
    assert type(twin) is tc.Conv2d
    assert twin.weight.flags.writeable is not frozen
    assert_same_bits(twin(X), layer(X), "clone")
    shared = clone is copy.copy
    assert np.shares_memory(twin.weight, layer.weight) is shared
    before = layer(X)
    if not shared:
        twin.unfreeze()
        twin.weight[...] = 1
        assert_accurate(twin(X), expected(twin), "changed clone")
    assert_same_bits(layer(X), before, "original")


def test_a_copy_of_a_frozen_layer_outlives_it() -> None:
    layer = tc.Conv2d(**LAYER, rng=0).freeze()
    twin = copy.copy(layer)
    del layer
    twin.unfreeze().weight[...] = 1
    assert_accurate(twin(X), expected(twin), "copy")


def test_state_dict_round_trip() -> None:
    source, target = tc.Conv2d(**LAYER, rng=1), tc.Conv2d(**LAYER, rng=2)
    state = source.state_dict()
    assert list(state) == ["weight", "bias"]
    assert list(tc.Conv2d(1, 1, 1, bias=False).state_dict()) == ["weight"]
    weight = target.weight
    target.load_state_dict(state)
    assert target.weight is weight
    assert not np.shares_memory(target.weight, source.weight)
    assert_same_bits(target(X), source(X), "loaded")
    target.load_state_dict({name: array.astype(np.float64) for name, array in state.items()})
    assert_same_bits(target(X), source(X), "loaded from float64")


W, B = tc.Conv2d(**LAYER, rng=9).state_dict().values()


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ({"weight": W}, ValueError, ("Missing", "bias")),
        ({"bias": B}, ValueError, ("Missing", "weight")),
        ({"weight": W, "bias": B, "scale": B}, ValueError, ("Unexpected", "scale")),
        ({"weight": W[:5], "bias": B}, ValueError, ("weight", "(5, 2, 3, 2)", "(6, 2, 3, 2)")),
        ({"weight": W, "bias": B[:4]}, ValueError, ("bias", "(4,)", "(6,)")),
        ({"weight": W[:5], "bias": B[:4]}, ValueError, ("weight", "bias")),
        ({"weight": W, "bias": B.astype(complex)}, TypeError, ("bias", "complex128")),
        ({"weight": W.astype("U"), "bias": B}, TypeError, ("weight",)),
        ({"weight": None, "bias": B}, TypeError, ("weight", "None")),
        ([W, B], TypeError, ("state_dict", "list")),
        (None, TypeError, ("state_dict", "None")),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, (dict, tuple)) else None,
)
def test_bad_state_changes_nothing(state: Any, error: type[Exception], words: tuple[str, ...]) -> None:
    layer = tc.Conv2d(**LAYER)
    before = pickle.dumps(layer.state_dict())
    with pytest.raises(error) as caught:
        layer.load_state_dict(state)
    assert caught.type is error
    assert all(word in str(caught.value) for word in words), caught.value
    assert pickle.dumps(layer.state_dict()) == before


def test_assigned_arrays_are_kept() -> None:
    layer = tc.Conv2d(**LAYER)
    weight = room(layer.weight.shape, np.dtype(np.float32), "nhwc")[1]
    weight[...] = np.arange(weight.size).reshape(weight.shape) % 7
    layer.weight, layer.bias = weight, None
    assert layer.weight is weight
    assert_accurate(layer(X), expected(layer), "assigned weight")
    assert_same_bits(layer.freeze()(X), layer.unfreeze()(X), "assigned weight, frozen")
    for value, error in ((weight[:5], ValueError), (weight.astype(np.float64), TypeError), ("abc", TypeError)):
        with pytest.raises(error, match="weight"):
            layer.weight = value
    assert layer.weight is weight


@pytest.mark.parametrize("name", ["stride", "padding", "in_channels", "kernel_size", "groups", "padding_mode"])
def test_geometry_is_fixed(name: str) -> None:
    layer = tc.Conv2d(**LAYER)
    with pytest.raises(AttributeError, match=name):
        setattr(layer, name, 2)


def test_attributes_are_as_given() -> None:
    layer = tc.Conv2d(4, 6, (3, 2), 2, (1, 0), (1, 2), 2, padding_mode="circular", dtype=np.float64)
    assert (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) == (4, 6, (3, 2), (2, 2))
    assert (layer.padding, layer.dilation, layer.groups, layer.padding_mode) == ((1, 0), (1, 2), 2, "circular")
    assert layer.weight.dtype == np.float64
    assert layer.bias is not None
    assert layer.bias.dtype == np.float64
    assert tc.Conv2d(1, 1, 3, padding="same").padding == "same"
    assert tc.Conv2d(1, 1, 3, padding=((1, 2), (3, 4))).padding == ((1, 2), (3, 4))


def test_initial_values_are_drawn_by_rng() -> None:
    first, second = tc.Conv2d(**LAYER, rng=5), tc.Conv2d(**LAYER, rng=5)
    assert pickle.dumps(first.state_dict()) == pickle.dumps(second.state_dict())
    assert not np.array_equal(first.weight, tc.Conv2d(**LAYER, rng=6).weight)
    assert not np.array_equal(tc.Conv2d(**LAYER).weight, tc.Conv2d(**LAYER).weight)
    generator = np.random.default_rng(5)
    third, fourth = tc.Conv2d(**LAYER, rng=generator), tc.Conv2d(**LAYER, rng=generator)
    assert np.array_equal(third.weight, first.weight)
    assert not np.array_equal(third.weight, fourth.weight)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initial_values_are_uniform(dtype: type) -> None:
    layer = tc.Conv2d(32, 64, (3, 5), groups=4, dtype=dtype, rng=1)
    bound = np.sqrt(4 / (32 * 3 * 5))
    assert layer.bias is not None
    for values in (layer.weight, layer.bias):
        assert values.dtype == dtype
        assert 0.9 * bound < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.15)
    counts = np.histogram(layer.weight, 8, (-bound, bound))[0]
    assert counts == pytest.approx(np.full(8, layer.weight.size / 8), rel=0.15)


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
def test_out_of_a_layer(frozen: bool) -> None:
    layer = tc.Conv2d(**LAYER)
    if frozen:
        layer.freeze()
    backing, out = room((2, 6, 8, 10), np.dtype(np.float32), "nhwc")
    out[...] = np.nan
    assert layer(X, out=out) is out
    assert_same_bits(np.ascontiguousarray(out), layer(X), "out")
    out[...] = backing.flat[0]
    assert (backing == backing.flat[0]).all()


@linux
def test_plans_of_many_shapes_stay_bounded() -> None:
    """Each of 100 shapes has a plan of its own; the layer must not keep them all, nor weights packed for each.

    The heap takes some rounds to find its shape; what is kept for good grows in every one of them.
    """
    code = """
layer = tc.Conv2d(64, 64, 3, padding=1, rng=0).freeze()
x = np.ones((1, 64, 64, 64), np.float32)
layer(x)

def growth():
    before = memory("VmRSS")
    for h in range(5, 55):
        layer(x[:, :, :h, :h + 3])
        layer(x[:, :, :h + 9, :60 - h])
    return memory("VmRSS") - before

print(growth(), min(growth() for _ in range(20)))
"""
    first, later = map(int, output_of(MEASURE + code, TILECONV_NUM_THREADS="1").split())
    assert first < 10 << 20
    assert later < 64 << 10


def test_frozen_layer_follows_every_setting() -> None:
    """Plans kept for one instruction set, number of threads or image do not serve another."""
    layer = tc.Conv2d(24, 40, 3, padding=1)
    images = [case.normals()[0] for case in (Case.parse(f"ic24 ih{n} oc40 kh3 p1") for n in (20, 31))]
    settings = [(isa, threads, x) for isa in tc._core.isas() for threads in (1, 2) for x in images]

    def outputs() -> Iterator[Array]:
        for isa, threads, x in settings:
            tc.set_num_threads(threads)
            with forced_isa(isa):
                yield layer(x)

    fresh = list(outputs())
    layer.freeze()
    for _ in range(2):
        for setting, y, again in zip(settings, fresh, outputs()):
            assert_same_bits(again, y, str(setting[:2]))


def test_frozen_layer_checks_every_input() -> None:
    """What was found of one input serves none of another shape or dtype, whether that is right or wrong."""
    layer = tc.Conv2d(**LAYER)
    images = [X, X[0], X[:1], X[:, :, :5], X[:, :, :, ::2], X.transpose(0, 1, 3, 2)]
    fresh = [layer(x) for x in images]
    layer.freeze()
    wrong: list[tuple[Array, type[Exception]]] = [
        (X[:, :2], ValueError),
        (X[0, 0], ValueError),
        (X.astype(np.float64), TypeError),
        (X.astype(np.int32), TypeError),
    ]
    for x, y in zip(images, fresh):
        for bad, error in wrong:
            with pytest.raises(error, match="input"):
                layer(bad)
            assert_same_bits(layer(x), y, f"after {bad.dtype} {bad.shape}")
            assert_same_bits(layer(x.astype(">f4")), y, "other byte order")
    for x, y in zip(images, fresh):
        assert_same_bits(layer(x), y, "after each other")


def test_frozen_layer_tells_pixels_of_a_batch_from_those_of_a_row() -> None:
    """A batch of single pixels is computed as a row, which a stride of 2 would make a shorter one."""
    layer = tc.Conv2d(20, 30, 1, stride=2, rng=0)
    batch = np.random.default_rng(1).standard_normal((5, 20, 1, 1), np.float32)
    row = np.ascontiguousarray(batch.transpose(2, 1, 3, 0))
    pixels, every_other = layer(batch), layer(row)
    layer.freeze()
    for _ in range(2):
        assert_same_bits(layer(batch), pixels, "batch")
        assert_same_bits(layer(row), every_other, "row")
    assert_same_bits(pixels[::2, :, 0, 0], every_other[0, :, 0].T, "pixels of either")


def test_one_frozen_layer_in_many_threads() -> None:
    layer = tc.Conv2d(16, 24, 3, padding=1, dtype=np.float64).freeze()
    images = [BY_NAME["resnet.3x3"], *(Case.parse(f"ic16 ih{n} iw{60 - n} oc24 kh3 p1") for n in range(5, 50, 4))]
    inputs = [case.normals(seed)[0].astype(np.float64) for seed, case in enumerate(images)]
    fresh = [expected(layer, x) for x in inputs]
    tc.set_num_threads(2)

    def work(start: int) -> None:
        for i in range(40):
            at = (start + i) % len(inputs)
            assert_accurate(layer(inputs[at]), fresh[at], f"{images[at]} in thread {start}")

    with ThreadPoolExecutor(6) as executor:
        list(executor.map(work, range(6)))
