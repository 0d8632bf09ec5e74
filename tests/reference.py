"""What a convolution and its gradients are, in NumPy and float64: the yardstick of the tests.

Independent of the compiled core: the input is really padded with `numpy.pad`, the windows are really formed, and
the sum is written out as an einsum. So NaN and Inf flow as IEEE arithmetic on an explicitly padded array makes them.
The input's gradient is scattered tap by tap over the padded image and then added where `numpy.pad` copied from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
"""((top, bottom), (left, right))"""

NUMPY_MODE = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


def pair(value: Any) -> Pair:
    """One number for both axes, or (vertical, horizontal)."""
    vertical, horizontal = (value, value) if np.ndim(value) == 0 else value
    return int(vertical), int(horizontal)


def sides(padding: Any, size: Pair, kernel: Pair, stride: Any = 1, dilation: Any = 1) -> Sides:
    """Resolve every form of `padding` to ((top, bottom), (left, right))."""
    if not isinstance(padding, str):
        vertical, horizontal = (padding, padding) if np.ndim(padding) == 0 else padding
        return pair(vertical), pair(horizontal)
    top_bottom, left_right = (
        _named(padding, n, d * (k - 1) + 1, s) for n, k, s, d in zip(size, kernel, pair(stride), pair(dilation))
    )
    return top_bottom, left_right


def _named(name: str, size: int, extent: int, stride: int) -> Pair:
    if name == "valid":
        return 0, 0
    outputs = -(-size // stride)
    total = extent - 1 if name == "same" else max((outputs - 1) * stride + extent - size, 0)
    small, large = total // 2, total - total // 2
    return (large, small) if name == "same_lower" else (small, large)


def output_size(size: int, pads: Pair, kernel: int, stride: int, dilation: int) -> int:
    return (size + sum(pads) - dilation * (kernel - 1) - 1) // stride + 1


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> NDArray[np.float64]:
    x, w = np.asarray(input, np.float64), np.asarray(weight, np.float64)
    if x.ndim == 3:
        return conv2d(x[None], w, bias, stride, padding, dilation, groups, padding_mode=padding_mode)[0]
    windows = _windows(x, w.shape[2:], stride, padding, dilation, groups, padding_mode)
    # No `optimize`: BLAS is free to skip a product with zero, and 0 * NaN has to be NaN here.
    y = np.einsum("ngchwij,gkcij->ngkhw", windows, _grouped(w, 0, groups))
    y = y.reshape(len(y), len(w), *y.shape[3:])
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]


def _grouped(array: NDArray[np.float64], axis: int, groups: int) -> NDArray[np.float64]:
    """The axis of channels as two, (groups, channels of a group)."""
    shape = list(array.shape)
    shape[axis : axis + 1] = groups, shape[axis] // groups
    return array.reshape(shape)


def _windows(
    x: NDArray[np.float64], kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int, padding_mode: str
) -> NDArray[np.float64]:
    """(N, groups, C_in / groups, H_out, W_out, kH, kW): what each output pixel's kernel covers of the padded input."""
    (stride_h, stride_w), (dilation_h, dilation_w) = pair(stride), pair(dilation)
    pads = sides(padding, x.shape[2:], kernel, stride, dilation)
    x = np.pad(x, ((0, 0), (0, 0), *pads), mode=NUMPY_MODE[padding_mode])  # type: ignore[call-overload]
    extent = (dilation_h * (kernel[0] - 1) + 1, dilation_w * (kernel[1] - 1) + 1)
    windows = sliding_window_view(x, extent, axis=(2, 3))[:, :, ::stride_h, ::stride_w, ::dilation_h, ::dilation_w]
    return _grouped(windows, 1, groups)


def conv2d_input(
    input_size: tuple[int, ...],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> NDArray[np.float64]:
    w, g = np.asarray(weight, np.float64), np.asarray(grad_output, np.float64)
    if g.ndim == 3:
        options = (stride, padding, dilation, groups)
        return conv2d_input((1, *input_size), w, g[None], *options, padding_mode=padding_mode)[0]
    pads = sides(padding, input_size[2:], w.shape[2:], stride, dilation)  # type: ignore[arg-type]
    frame = (input_size[2] + sum(pads[0]), input_size[3] + sum(pads[1]))
    padded = _scatter(g, w, frame, pair(stride), pair(dilation), groups)
    for axis, (size, pad) in enumerate(zip(input_size[2:], pads)):
        mode: Any = {"constant_values": -1} if padding_mode == "zeros" else {}
        source = np.pad(np.arange(size), pad, NUMPY_MODE[padding_mode], **mode)  # type: ignore[call-overload]
        folded = np.zeros((size, *padded.shape[:2], padded.shape[3 - axis]))
        np.add.at(folded, source[source >= 0], np.moveaxis(padded, 2 + axis, 0)[source >= 0])
        padded = np.moveaxis(folded, 0, 2 + axis)
    return padded


def _scatter(
    g: NDArray[np.float64], w: NDArray[np.float64], size: Pair, stride: Pair, dilation: Pair, groups: int
) -> NDArray[np.float64]:
    """An image of `size` to which each pixel of `g` has added its multiple of the kernel."""
    w, g = _grouped(w, 0, groups), _grouped(g, 1, groups)
    image = np.zeros((len(g), groups, w.shape[2], *size))
    for i, j in np.ndindex(w.shape[3:]):
        rows, columns = (
            slice(tap * d, tap * d + (n - 1) * s + 1, s) for tap, d, s, n in zip((i, j), dilation, stride, g.shape[3:])
        )
        image[..., rows, columns] += np.einsum("ngkhw,gkc->ngchw", g, w[..., i, j])
    return image.reshape(len(g), groups * w.shape[2], *size)


def conv2d_weight(
    input: ArrayLike,
    weight_size: tuple[int, ...],
    grad_output: ArrayLike,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
) -> NDArray[np.float64]:
    x, g = np.asarray(input, np.float64), np.asarray(grad_output, np.float64)
    if x.ndim == 3:
        x, g = x[None], g[None]
    windows = _windows(x, weight_size[2:], stride, padding, dilation, groups, padding_mode)
    return np.einsum("ngchwij,ngkhw->gkcij", windows, _grouped(g, 1, groups)).reshape(weight_size)


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> NDArray[np.float64]:
    x, w = np.asarray(input, np.float64), np.asarray(weight, np.float64)
    if x.ndim == 3:
        return conv_transpose2d(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
    (pad_h, pad_w), more = pair(padding), pair(output_padding)
    height, width = (
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(x.shape[2:], pair(stride), pair(dilation), w.shape[2:], more)
    )
    image = _scatter(x, w, (height, width), pair(stride), pair(dilation), groups)
    y = image[:, :, pad_h : height - pad_h, pad_w : width - pad_w]
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]
