"""Live parity with PyTorch: values, argument forms, module behaviour. Skipped where torch is not installed."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import BY_NAME, CASES, DTYPES, Array, Case
from checks import assert_accurate

torch = pytest.importorskip("torch")
functional = torch.nn.functional
torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")

TORCH_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
# Both sides round: a float32 sum may be off by the bound on each.
BOUND = {"f32": 2e-5, "f64": 2e-13}

COMPARABLE = [case for case in CASES if case.padding_mode in TORCH_PAD and min(case.input_shape) > 0]
INTERCHANGED = [
    "resnet.3x3",
    "depthwise.x2",
    "grouped.1x1",
    "dilated.6",
    "stride.1x1.mixed",
    "dense.1x7",
    "padmode.reflect9",
    "padmode.circular",
    "padmode.replicate",
    "pad.zeros.same",
    "pad.reflect.same",
    "pad.circular.same",
    "pad.valid",
]


def torch_conv2d(case: Case, x: Array, w: Array, b: Array | None) -> Array:
    """torch pads one amount a side only by `pad`, and knows no 'same' with a stride."""
    tensors = [None if array is None else torch.from_numpy(array) for array in (x, w, b)]
    rest = {"dilation": case.dilation, "groups": case.groups}
    if case.padding_mode == "zeros" and case.padding in ("same", "valid"):
        return functional.conv2d(*tensors, case.stride, case.padding, **rest).numpy()
    (top, bottom), (left, right) = reference.sides(
        case.options["padding"], (case.in_h, case.in_w), case.kernel, case.stride, case.dilation
    )
    if case.padding_mode == "zeros" and (top, left) == (bottom, right):
        return functional.conv2d(*tensors, case.stride, (top, left), **rest).numpy()
    tensors[0] = functional.pad(tensors[0], (left, right, top, bottom), mode=TORCH_PAD[case.padding_mode])
    return functional.conv2d(*tensors, case.stride, 0, **rest).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", COMPARABLE, ids=attrgetter("name"))
def test_conv2d(case: Case, dtype: str) -> None:
    case = replace(case, dtype=dtype)
    x, w, b = case.normals()
    assert_accurate(tc.conv2d(x, w, b, **case.options), torch_conv2d(case, x, w, b), str(case), BOUND[dtype])


def arguments(case: Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What both `Conv2d` classes take; torch's padding is a name or a pair."""
    padding = case.padding if isinstance(case.padding, str) else case.padding[::2]
    options = {**case.options, "padding": padding, "bias": case.bias}
    return (case.in_channels, case.out_channels, case.kernel), options


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", INTERCHANGED)
def test_layer_and_state_dict_both_ways(name: str, dtype: str) -> None:
    case = replace(BY_NAME[name], dtype=dtype)
    sizes, options = arguments(case)
    x = case.normals()[0]
    theirs = torch.nn.Conv2d(*sizes, **options, dtype=torch.float32 if dtype == "f32" else torch.float64)
    ours = tc.Conv2d(*sizes, **options, dtype=DTYPES[dtype], rng=0)
    assert repr(ours) == repr(theirs)

    def assert_equal_outputs() -> None:
        with torch.no_grad():
            assert_accurate(ours(x), theirs(torch.from_numpy(x)).numpy(), str(case), BOUND[dtype])

    ours.load_state_dict({key: tensor.numpy() for key, tensor in theirs.state_dict().items()})
    assert_equal_outputs()
    ours = tc.Conv2d(*sizes, **options, dtype=DTYPES[dtype], rng=1)
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in state.items()})
    assert_equal_outputs()


def test_state_dict_of_tensors() -> None:
    theirs, ours = torch.nn.Conv2d(3, 4, 3), tc.Conv2d(3, 4, 3)
    ours.load_state_dict(theirs.state_dict())
    assert np.array_equal(ours.weight, theirs.weight.detach().numpy())
    assert ours.bias is not None
    assert np.array_equal(ours.bias, theirs.bias.detach().numpy())


REPR = [
    ((3, 4, 3), {}),
    ((3, 4, (3, 5)), {}),
    ((3, 4, 1), {"bias": False}),
    ((4, 8, 3), {"stride": 2}),
    ((4, 8, 3), {"stride": (2, 1), "padding": 1}),
    ((4, 8, 3), {"padding": (0, 2)}),
    ((4, 8, 3), {"padding": 0}),
    ((4, 8, 3), {"padding": "same"}),
    ((4, 8, 3), {"padding": "valid"}),
    ((4, 8, 3), {"dilation": 2}),
    ((4, 8, 3), {"dilation": (1, 2), "groups": 4}),
    ((4, 8, 3), {"padding": 1, "padding_mode": "reflect"}),
    ((4, 8, 3), {"padding": 1, "padding_mode": "zeros"}),
    ((4, 8, 3), {"padding": "same", "padding_mode": "circular", "bias": False, "groups": 2}),
    ((4, 8, 3), {"stride": 3, "padding": 2, "dilation": 2, "groups": 2, "padding_mode": "replicate", "bias": False}),
]


@pytest.mark.parametrize(("sizes", "options"), REPR, ids=str)
def test_repr(sizes: tuple[Any, ...], options: dict[str, Any]) -> None:
    assert repr(tc.Conv2d(*sizes, **options)) == repr(torch.nn.Conv2d(*sizes, **options))


def test_initial_distribution() -> None:
    """The same bounds and the same spread as torch draws, for the weight and for the bias."""
    sizes, options = (32, 512, (3, 5)), {"groups": 4}
    theirs, ours = torch.nn.Conv2d(*sizes, **options), tc.Conv2d(*sizes, **options, rng=5)
    for name in ("weight", "bias"):
        expected = getattr(theirs, name).detach().numpy()
        drawn = getattr(ours, name)
        assert drawn.shape == expected.shape
        assert drawn.dtype == expected.dtype
        assert np.abs(drawn).max() == pytest.approx(np.abs(expected).max(), rel=0.02)
        assert drawn.std() == pytest.approx(expected.std(), rel=0.1)
        assert abs(drawn.mean()) < 0.1 * np.abs(drawn).max()


def test_tensors_come_in_without_a_copy() -> None:
    x = torch.ones(1, 16, 512, 256)
    w, b = torch.ones(1, 16, 1, 1), torch.zeros(1)
    tc.conv2d(x, w, b, stride=8)
    tracemalloc.start()
    try:
        y = tc.conv2d(x, w, b, stride=8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (y == 16).all()
    assert peak < x.nbytes / 4


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "expanded", "sliced"])
def test_tensors_of_any_layout(layout: str) -> None:
    x = torch.arange(2 * 3 * 6 * 8, dtype=torch.float64).reshape(2, 3, 6, 8)
    view = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3),
        "expanded": x[:1].expand(4, -1, -1, -1),
        "sliced": x[:, :, 1::2, ::3],
    }[layout]
    w = torch.arange(4 * 3 * 3 * 2, dtype=torch.float64).reshape(4, 3, 3, 2) - 30
    y = tc.conv2d(view, w, padding=1)
    assert isinstance(y, np.ndarray)
    assert np.array_equal(y, functional.conv2d(view, w, padding=1).numpy())
