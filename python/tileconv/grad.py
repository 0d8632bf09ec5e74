"""Gradients of `conv2d` with respect to its input, its weight and its bias.

For ``y = conv2d(x, w, b, ...)`` and a loss L of which ``g = dL/dy`` is known, these functions give dL/dx, dL/dw and
dL/db, with the names and arguments of ``torch.nn.grad`` [1]_. With P the padding, which copies elements of x (or zeros)
to a larger image, the three are

- ``conv2d_input``: ``dL/dP(x)[n, c, r, s]`` is the sum of ``g[n, o, y, x] * w[o, c, i, j]`` over all o, y, x, i, j with
  ``y * stride_h + i * dilation_h == r`` and ``x * stride_w + j * dilation_w == s``; an element of x gets the sum over
  all its copies in P(x);
- ``conv2d_weight``: ``dL/dw[o, c, i, j]`` is the sum of
  ``g[n, o, y, x] * P(x)[n, c, y * stride_h + i * dilation_h, x * stride_w + j * dilation_w]`` over all n, y, x;
- ``conv2d_bias``: ``dL/db[o]`` is the sum of ``g[n, o, y, x]`` over all n, y, x.

`conv2d_input` is a transposed convolution; chapter 4 of [2]_ draws it for every stride and padding. Here a stride costs
no arithmetic on inserted zeros, and no padding mode makes a padded copy.

Second derivatives
------------------
Convolution is linear in x and linear in w, and so are its gradients in what they are given: the three maps are the
partial derivatives of one trilinear form::

    T(x, w, g) = <conv2d(x, w), g> = <x, conv2d_input(x.shape, w, g)> = <w, conv2d_weight(x, w.shape, g)>

Whatever is linear is its own derivative, so second derivatives need nothing new. Let a further loss depend on
``conv2d_input(x.shape, w, g)`` with the gradient u and on ``conv2d_weight(x, w.shape, g)`` with the gradient v: it
changes as T(u, w, g) + T(x, v, g) does, so its gradients are

- with respect to x: ``conv2d_input(x.shape, v, g)``
- with respect to w: ``conv2d_weight(u, w.shape, g)``
- with respect to g: ``conv2d(u, w) + conv2d(x, v)``

References
----------
.. [1] PyTorch documentation, https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
.. [2] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
   https://arxiv.org/abs/1603.07285

Examples
--------
The three inner products of T, for a strided convolution with circular padding:

>>> import numpy as np
>>> import tileconv as tc
>>> rng = np.random.default_rng(0)
>>> options = dict(stride=2, padding=1, padding_mode="circular")
>>> x, w = rng.standard_normal((2, 3, 8, 8)), rng.standard_normal((4, 3, 3, 3))
>>> y = tc.conv2d(x, w, **options)
>>> g = rng.standard_normal(y.shape)
>>> by_input = np.vdot(x, tc.grad.conv2d_input(x.shape, w, g, **options))
>>> by_weight = np.vdot(w, tc.grad.conv2d_weight(x, w.shape, g, **options))
>>> bool(np.allclose([by_input, by_weight], np.vdot(y, g)))
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _core
from ._forms import as_array, geometry, shape, text, writable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from ._core import Array
    from ._forms import ArrayLike, Padding, Size

__all__ = ["Conv2dGrads", "conv2d_bias", "conv2d_input", "conv2d_weight"]


class Conv2dGrads(NamedTuple):
    """What `Conv2d.backward` and `ConvTranspose2d.backward` return: the gradients of a loss.

    Attributes
    ----------
    input, weight : ndarray
        Of the shape and dtype of the layer's input and of its `weight`.
    bias : ndarray or None
        None where the layer has no bias.

    Examples
    --------
    >>> import numpy as np
    >>> import tileconv as tc
    >>> layer = tc.Conv2d(1, 2, 3, rng=0)
    >>> grads = layer.backward(np.ones((5, 1, 8, 8), np.float32), np.ones((5, 2, 6, 6), np.float32))
    >>> grads.input.shape, grads.weight.shape, grads.bias
    ((5, 1, 8, 8), (2, 1, 3, 3), array([180., 180.], dtype=float32))
    """

    input: Array
    weight: Array
    bias: Array | None


def conv2d_input(
    input_size: Sequence[SupportsIndex],
    weight: ArrayLike,
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
    algorithm: str = "auto",
) -> Array:
    """Gradient of a loss with respect to the input of `conv2d`.

    Parameters
    ----------
    input_size : tuple of int
        Shape of the input, (N, C_in, H, W) or (C_in, H, W). It is needed because several sizes of an image give the
        same size of the output where the stride is not 1.
    weight : array_like, shape (C_out, C_in / groups, kH, kW)
        As given to `conv2d`.
    grad_output : array_like, shape (N, C_out, H_out, W_out) or (C_out, H_out, W_out)
        Gradient of the loss with respect to the output, of the dtype of `weight` and of any memory layout.
    stride, padding, dilation, groups, padding_mode, algorithm
        As given to `conv2d`.
    out : ndarray, optional
        Array of shape `input_size` and of any strides that receives the result and is returned. It must not share
        memory with an input.

    Returns
    -------
    ndarray, shape `input_size`
        C-contiguous and of the dtype of `weight`, or `out`. The bits of an image's gradient do not depend on the
        number of threads, the batch or the memory layout.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`; a ValueError also where `grad_output` has not the shape of the output.

    Notes
    -----
    Pixels beyond the edge of `grad_output` may count as zeros, whose product with an infinite weight is NaN.

    Examples
    --------
    How often each pixel of a 1 x 5 image is used by a kernel of 3 with stride 2, without and with padding:

    >>> import numpy as np
    >>> import tileconv as tc
    >>> kernel = np.ones((1, 1, 1, 3), np.float32)
    >>> tc.grad.conv2d_input((1, 1, 5), kernel, np.ones((1, 1, 2), np.float32), stride=2)
    array([[[1., 1., 2., 1., 1.]]], dtype=float32)
    >>> grad_output = np.ones((1, 1, 3), np.float32)
    >>> tc.grad.conv2d_input((1, 1, 5), kernel, grad_output, stride=2, padding=(0, 1), padding_mode="replicate")
    array([[[2., 2., 1., 2., 2.]]], dtype=float32)
    """
    return _core.conv2d_input(
        shape(input_size, "input_size"),
        as_array(weight, "weight"),
        as_array(grad_output, "grad_output"),
        *geometry(stride, padding, dilation, groups, padding_mode),
        out if out is None else writable(out, "out"),
        text(algorithm, "algorithm"),
    )


def conv2d_weight(
    input: ArrayLike,
    weight_size: Sequence[SupportsIndex],
    grad_output: ArrayLike,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
    algorithm: str = "auto",
) -> Array:
    """Gradient of a loss with respect to the weight of `conv2d`.

    Parameters
    ----------
    input : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        As given to `conv2d`.
    weight_size : tuple of int
        Shape of the weight, (C_out, C_in / groups, kH, kW).
    grad_output : array_like, shape (N, C_out, H_out, W_out) or (C_out, H_out, W_out)
        Gradient of the loss with respect to the output, of the dtype of `input` and of any memory layout.
    stride, padding, dilation, groups, padding_mode, algorithm
        As given to `conv2d`.
    out : ndarray, optional
        Array of shape `weight_size` and of any strides that receives the result and is returned. It must not share
        memory with an input.

    Returns
    -------
    ndarray, shape `weight_size`
        C-contiguous and of the dtype of `input`, or `out`; summed over the batch, with the same bits for any number
        of threads.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`; a ValueError also where `grad_output` has not the shape of the output.

    Examples
    --------
    With a gradient of one everywhere, each tap's gradient is the sum of the pixels it has seen:

    >>> import numpy as np
    >>> import tileconv as tc
    >>> image = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    >>> tc.grad.conv2d_weight(image, (1, 1, 2, 2), np.ones((1, 2, 2), np.float32))
    array([[[[ 8., 12.],
             [20., 24.]]]], dtype=float32)
    """
    return _core.conv2d_weight(
        as_array(input, "input"),
        shape(weight_size, "weight_size"),
        as_array(grad_output, "grad_output"),
        *geometry(stride, padding, dilation, groups, padding_mode),
        out if out is None else writable(out, "out"),
        text(algorithm, "algorithm"),
    )


def conv2d_bias(grad_output: ArrayLike, *, out: Array | None = None) -> Array:
    """Gradient of a loss with respect to the bias of `conv2d`: the sum of each channel of `grad_output`.

    Parameters
    ----------
    grad_output : array_like, shape (N, C_out, H_out, W_out) or (C_out, H_out, W_out)
        Gradient of the loss with respect to the output, float32 or float64, of any memory layout.
    out : ndarray, optional
        Array of shape (C_out,) that receives the result and is returned. It must not share memory with `grad_output`.

    Returns
    -------
    ndarray, shape (C_out,)
        Of the dtype of `grad_output`, or `out`; computed on the caller's thread.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind, dtype or shape, or an `out` that overlaps `grad_output` or itself.

    Examples
    --------
    >>> import numpy as np
    >>> import tileconv as tc
    >>> tc.grad.conv2d_bias(np.ones((4, 2, 5, 5), np.float32))
    array([100., 100.], dtype=float32)
    """
    grads = as_array(grad_output, "grad_output")
    if grads.dtype not in (np.float32, np.float64):
        raise TypeError(f"grad_output must have dtype float32 or float64, got {grads.dtype}")
    if grads.ndim not in (3, 4):
        raise ValueError(
            f"grad_output must have 4 dimensions (N, C, H, W) or 3 (C, H, W), got {grads.ndim} with shape {grads.shape}"
        )
    if out is not None:
        check_bias_out(writable(out, "out"), grads)
    # NumPy sums pairwise along contiguous memory but one by one across it, so a strided row is summed by itself. The
    # sums of rows or planes are few and are added in float64.
    inner = (-2, -1) if grads.strides[-1] == grads.itemsize else (-1,)
    with np.errstate(over="ignore", invalid="ignore"):
        partial = grads.sum(axis=inner)
        channel = grads.ndim - 3
        axes = tuple(axis for axis in range(partial.ndim) if axis != channel)
        total: Array = partial.sum(axis=axes, dtype=np.float64).astype(grads.dtype)
    if out is None:
        return total
    out[...] = total
    return out


def check_bias_out(out: Array, grads: Array) -> None:
    """Refuse an `out` of `conv2d_bias` for the reasons, and in the words, that the core has for the others."""
    channels = grads.shape[-3:-2]
    if out.dtype != grads.dtype:
        raise TypeError(f"out must have grad_output's dtype {grads.dtype}, got {out.dtype}")
    if out.shape != channels:
        raise ValueError(f"out must have the result's shape {channels}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")
    if out.size > 1 and abs(out.strides[0]) < out.itemsize:
        raise ValueError("out must not overlap itself in memory, got strides that do")
    if np.may_share_memory(out, grads, max_work=10_000):  # type: ignore[arg-type]
        raise ValueError("out overlaps grad_output in memory, expected an array of its own")
