"""Live parity of gradients and transposed convolution with PyTorch's autograd. Skipped where torch is not installed."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

import tileconv as tc
from cases import BY_NAME, DTYPES, Array, Case
from checks import assert_accurate
from gradients import PASSES, Operands, normals
from test_torch_parity import BOUND, COMPARABLE, INTERCHANGED, TORCH_PAD, arguments, functional, reference, torch

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def forward(case: Case, x: Any, w: Any) -> Any:
    """The convolution of tensors, every padding by torch's differentiable `pad`."""
    (top, bottom), (left, right) = reference.sides(
        case.options["padding"], (case.in_h, case.in_w), case.kernel, case.stride, case.dilation
    )
    x = functional.pad(x, (left, right, top, bottom), mode=TORCH_PAD[case.padding_mode])
    return functional.conv2d(x, w, None, case.stride, 0, case.dilation, case.groups)


def tensors(operands: Operands) -> list[Any]:
    return [torch.from_numpy(array).requires_grad_() for array in operands]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", COMPARABLE, ids=attrgetter("name"))
def test_autograd(case: Case, dtype: str) -> None:
    case = replace(case, dtype=dtype)
    operands = normals(case)
    x, w, g = tensors(operands)
    expected = torch.autograd.grad(forward(case, x, w), (x, w), g.detach())
    for pass_, grads in zip(PASSES, expected):
        found = operands.public(pass_, **case.options)
        assert_accurate(found, grads.numpy(), f"{case} {pass_}", BOUND[dtype])


@pytest.mark.parametrize("name", INTERCHANGED)
def test_backward_of_a_layer(name: str) -> None:
    case = replace(BY_NAME[name], dtype="f64", bias=True)
    sizes, options = arguments(case)
    ours, theirs = (
        tc.Conv2d(*sizes, **options, dtype=np.float64),
        torch.nn.Conv2d(*sizes, **options, dtype=torch.float64),
    )
    ours.load_state_dict(theirs.state_dict())
    x, _, g = normals(case)
    images = torch.from_numpy(x).requires_grad_()
    theirs(images).backward(torch.from_numpy(g))
    for found, parameter in zip(ours.backward(x, g), (images, theirs.weight, theirs.bias)):
        assert found is not None
        assert_accurate(found, parameter.grad.numpy(), name, BOUND["f64"])


SECOND = [
    "resnet.3x3.s2",
    "depthwise.x2",
    "grouped.odd",
    "asymmetric.all",
    "stride.padded",
    *[f"pad.{mode}.{kind}" for mode in TORCH_PAD for kind in ("sides", "s2d2", "same_upper")],
]


@pytest.mark.parametrize("name", SECOND)
def test_double_backward(name: str) -> None:
    """Second derivatives composed as `tileconv.grad` tells, against autograd of autograd."""
    case = replace(BY_NAME[name], dtype="f64")
    operands, (u, v, _), options = normals(case), normals(case, seed=1), case.options
    inputs = tensors(operands)
    first = torch.autograd.grad(forward(case, *inputs[:2]), inputs[:2], inputs[2], create_graph=True)
    expected = torch.autograd.grad(first, inputs, [torch.from_numpy(u), torch.from_numpy(v)])
    x, w, g = operands
    composed = (
        tc.grad.conv2d_input(x.shape, v, g, **options),
        tc.grad.conv2d_weight(u, w.shape, g, **options),
        tc.conv2d(u, w, **options) + tc.conv2d(x, v, **options),
    )
    for found, wanted, of in zip(composed, expected, "xwg"):
        assert_accurate(found, wanted.numpy(), f"{case}, with respect to {of}", BOUND["f64"])


@pytest.mark.parametrize("name", ["resnet.3x3.s2", "grouped.odd", "dilated.2"])
def test_names_and_order_of_arguments(name: str) -> None:
    """Positional arguments mean what they mean in `torch.nn.grad` and `torch.nn.functional`."""
    case = replace(BY_NAME[name], dtype="f64")
    x, w, g = normals(case)
    tx, tw, tg = map(torch.from_numpy, (x, w, g))
    rest = case.stride, case.options["padding"][0][0], case.dilation, case.groups
    for ours, theirs in (
        (tc.grad.conv2d_input(x.shape, w, g, *rest), torch.nn.grad.conv2d_input(x.shape, tw, tg, *rest)),
        (tc.grad.conv2d_weight(x, w.shape, g, *rest), torch.nn.grad.conv2d_weight(tx, w.shape, tg, *rest)),
    ):
        assert_accurate(ours, theirs.numpy(), str(case), BOUND["f64"])
    bias = np.arange(case.in_channels, dtype=np.float64)
    swapped = bias, case.stride, 1, (0, 0), case.groups, case.dilation
    theirs = functional.conv_transpose2d(tg, tw, torch.from_numpy(bias), *swapped[1:])
    assert_accurate(tc.conv_transpose2d(g, w, *swapped), theirs.numpy(), str(case), BOUND["f64"])


TRANSPOSED: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((4, 6, 3), {}),
    ((4, 6, (3, 2), 2, 1), {}),
    ((4, 6, 4, 2, 1), {"bias": False}),
    ((4, 6, 3, 2, 1, 1), {}),
    ((6, 4, 3, (2, 3), (0, 2), (1, 2), 2), {}),
    ((6, 3, (1, 5), 1, (0, 2), 0, 3, True, 2), {}),
    ((4, 4, 3, 2, 1, 1, 4, False, (1, 2)), {}),
    ((3, 5, 2, 3), {"dilation": (5, 4), "output_padding": (4, 3)}),
    ((3, 5, 1, 4), {"output_padding": 3, "padding_mode": "zeros"}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("positional", "options"), TRANSPOSED, ids=str)
def test_transposed_layer(positional: tuple[Any, ...], options: dict[str, Any], dtype: str) -> None:
    theirs = torch.nn.ConvTranspose2d(*positional, **options, dtype=torch.float32 if dtype == "f32" else torch.float64)
    ours = tc.ConvTranspose2d(*positional, **options, dtype=DTYPES[dtype], rng=0)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in theirs.state_dict().items():
        assert getattr(ours, name).shape == parameter.shape
    theirs.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in ours.state_dict().items()})
    x = np.random.default_rng(1).standard_normal((2, positional[0], 6, 7)).astype(DTYPES[dtype])
    for batched in (True, False):
        image = x if batched else x[0]
        images = torch.from_numpy(image).requires_grad_()
        y = theirs(images)
        assert_accurate(ours(image), y.detach().numpy(), repr(ours), BOUND[dtype])
        g = np.random.default_rng(2).standard_normal(y.shape).astype(DTYPES[dtype])
        theirs.zero_grad()
        y.backward(torch.from_numpy(g))
        parameters = images, theirs.weight, theirs.bias
        for found, parameter in zip(ours.backward(image, g), parameters):
            assert (found is None) is (parameter is None)
            if found is not None:
                assert_accurate(found, parameter.grad.numpy(), repr(ours), BOUND[dtype])


@pytest.mark.parametrize("size", [(h, w) for h in range(8, 13) for w in range(17, 22)], ids=str)
def test_output_size_is_possible_or_not(size: tuple[int, int]) -> None:
    theirs = torch.nn.ConvTranspose2d(3, 5, 3, (2, 3), 1)
    ours = tc.ConvTranspose2d(3, 5, 3, (2, 3), 1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    try:
        expected: Array = theirs(x, output_size=size).detach().numpy()
    except ValueError:
        with pytest.raises(ValueError, match="output_size"):
            ours(x, output_size=size)
    else:
        assert_accurate(ours(x, output_size=size), expected, str(size), BOUND["f32"])
