"""The float64 results that contestants must match: a matrix product for each kernel tap."""

from collections.abc import Iterator

import numpy as np

from bench.case import Case
from bench.layers import Array, Layer

NUMPY_PAD_MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


def reference(case: Case) -> Array:
    """The case in float64, of finite data."""
    layer, x, weight = case.layer, case.x, case.weight
    if case.pass_ == "input":
        return input_gradient(layer, weight, case.grad_output)
    if case.pass_ == "weight":
        return weight_gradient(layer, x, case.grad_output)
    y = input_gradient(layer.convolution, weight, x) if case.pass_ == "transposed" else forward(layer, x, weight)
    return y + case.bias.astype(np.float64)[:, None, None]


def forward(layer: Layer, x: Array, weight: Array) -> Array:
    images, kernels = padded(layer, x), by_group(layer, weight)
    y: Array = np.zeros((layer.batch, *kernels.shape[:2], pixels(layer)))
    for i, j, seen in taps(layer):
        y += product(kernels[..., i, j], flat(images[(..., *seen)]))
    return y.reshape(layer.output_shape)


def input_gradient(layer: Layer, weight: Array, grad_output: Array) -> Array:
    """Of a layer that is padded with zeros."""
    kernels, grads = by_group(layer, weight), grouped(layer, grad_output)
    sums = np.zeros_like(padded(layer, np.zeros(layer.input_shape)))
    for i, j, seen in taps(layer):
        products = product(kernels[..., i, j].swapaxes(-1, -2), flat(grads))
        sums[(..., *seen)] += products.reshape(*products.shape[:3], *grads.shape[3:])
    rows, cols = (slice(pad, pad + size) for pad, size in zip(layer.padding, layer.input_shape[2:], strict=True))
    return sums[..., rows, cols].reshape(layer.input_shape)


def weight_gradient(layer: Layer, x: Array, grad_output: Array) -> Array:
    images, grads = padded(layer, x), flat(grouped(layer, grad_output))
    result = np.empty_like(by_group(layer, np.zeros(layer.weight_shape)))
    for i, j, seen in taps(layer):
        result[..., i, j] = np.matmul(grads, flat(images[(..., *seen)]).swapaxes(-1, -2)).sum(0)
    return result.reshape(layer.weight_shape)


def taps(layer: Layer) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Each kernel tap (i, j), with the rows and columns of the padded image that it meets: one for each output."""
    _, _, out_h, out_w = layer.output_shape
    for i in range(layer.kernel_h):
        for j in range(layer.kernel_w):
            top, left = i * layer.dilation_h, j * layer.dilation_w
            rows = slice(top, top + (out_h - 1) * layer.stride_h + 1, layer.stride_h)
            cols = slice(left, left + (out_w - 1) * layer.stride_w + 1, layer.stride_w)
            yield i, j, (rows, cols)


def product(taps: Array, images: Array) -> Array:
    """A matrix product by group; where groups are single planes, scaling is the same and much faster."""
    result: Array = np.multiply(taps, images) if taps.shape[-2:] == (1, 1) else np.matmul(taps, images)
    return result


def padded(layer: Layer, x: Array) -> Array:
    pads = [(0, 0), (0, 0), (layer.pad_h,) * 2, (layer.pad_w,) * 2]
    return grouped(layer, np.pad(x, pads, mode=NUMPY_PAD_MODES[layer.padding_mode]))  # type: ignore[call-overload]


def grouped(layer: Layer, images: Array) -> Array:
    """(batch, group, channel of the group, row, column)."""
    return images.astype(np.float64).reshape(layer.batch, layer.groups, -1, *images.shape[2:])


def by_group(layer: Layer, weight: Array) -> Array:
    """(group, out channel of the group, in channel of the group, row, column)."""
    return weight.astype(np.float64).reshape(layer.groups, -1, *layer.weight_shape[1:])


def flat(images: Array) -> Array:
    return images.reshape(*images.shape[:-2], -1)


def pixels(layer: Layer) -> int:
    _, _, out_h, out_w = layer.output_shape
    return out_h * out_w


def relative_error(y: Array, y64: Array) -> float:
    """max|y - y64| / max|y64|; infinite where the shapes differ or a value is not finite."""
    if y.shape != y64.shape or not np.isfinite(y).all():
        return float("inf")
    return float(np.abs(y - y64).max() / np.abs(y64).max())
