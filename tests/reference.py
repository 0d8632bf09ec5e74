"""What a convolution is, in NumPy and float64: the yardstick of the tests.

Independent of the compiled core: the input is really padded with `numpy.pad`, the windows are really formed, and
the sum is written out as an einsum. So NaN and Inf flow as IEEE arithmetic on an explicitly padded array makes them.
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
    (stride_h, stride_w), (dilation_h, dilation_w) = pair(stride), pair(dilation)
    kernel_h, kernel_w = w.shape[2:]
    pads = sides(padding, x.shape[2:], (kernel_h, kernel_w), stride, dilation)
    x = np.pad(x, ((0, 0), (0, 0), *pads), mode=NUMPY_MODE[padding_mode])  # type: ignore[call-overload]

    extent = (dilation_h * (kernel_h - 1) + 1, dilation_w * (kernel_w - 1) + 1)
    windows = sliding_window_view(x, extent, axis=(2, 3))[:, :, ::stride_h, ::stride_w, ::dilation_h, ::dilation_w]
    batch, in_channels, *rest = windows.shape
    windows = windows.reshape(batch, groups, in_channels // groups, *rest)
    out_channels = w.shape[0]
    w = w.reshape(groups, out_channels // groups, *w.shape[1:])
    # No `optimize`: BLAS is free to skip a product with zero, and 0 * NaN has to be NaN here.
    y = np.einsum("ngchwij,gkcij->ngkhw", windows, w)
    y = y.reshape(batch, out_channels, *y.shape[3:])
    return y if bias is None else y + np.asarray(bias, np.float64)[:, None, None]
