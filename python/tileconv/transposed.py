"""Transposed convolution: the function `conv_transpose2d` and the layer `ConvTranspose2d`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _core
from ._forms import as_array, integer, pair, shape, text, writable
from ._layer import Layer, weight_shape
from .grad import Conv2dGrads, conv2d_bias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from numpy.typing import DTypeLike

    from ._core import Array, Pair
    from ._forms import ArrayLike, Size


def conv_transpose2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: SupportsIndex = 1,
    dilation: Size = 1,
    *,
    out: Array | None = None,
) -> Array:
    """2-D transposed convolution: the gradient of `conv2d` with respect to its input, as a layer that enlarges images.

    Each pixel of the input adds its multiple of the kernel to the output. For image ``n`` and output channel ``o`` of
    a group, with ``c`` running over the input channels of that group::

        out[n, o, r, s] = bias[o] + sum over all c, y, x, i, j with
                y * stride_h + i * dilation_h == r + padding_h and x * stride_w + j * dilation_w == s + padding_w of
            input[n, c, y, x] * weight[c, o, i, j]

    Parameters
    ----------
    input : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        Images, float32 or float64, of any memory layout, as for `conv2d`.
    weight : array_like, shape (C_in, C_out / groups, kH, kW)
        Kernels, of the dtype of `input`: the weight of the `conv2d` that leads back, from C_out to C_in channels.
    bias : array_like, shape (C_out,), optional
        Added to each output channel.
    stride : int or (int, int), default 1
        Step in the output from one input pixel to the next.
    padding : int or (int, int), default 0
        Rows and columns taken off each side of the output: what a `conv2d` with this padding had added.
    output_padding : int or (int, int), default 0
        Rows added at the bottom and columns at the right, less than the stride or the dilation. Several sizes of an
        image give `conv2d` outputs of one size, and this tells which of them to return to.
    groups : int, default 1
        Number of independent groups of channels.
    dilation : int or (int, int), default 1
        Distance between neighbouring kernel elements.
    out : ndarray, optional
        Array of the output's shape and dtype, of any strides, that receives the result and is returned. It must not
        share memory with an input.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out) or (C_out, H_out, W_out)
        C-contiguous and of the dtype of `input`, or `out`. The height is, and the width likewise::

            H_out = (H - 1) * stride_h - 2 * padding_h + dilation_h * (kH - 1) + output_padding_h + 1

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`; a ValueError also where `padding` leaves nothing of the output.

    See Also
    --------
    ConvTranspose2d : The same as a layer.
    grad.conv2d_input : The same with the size of the output given, for every kind and mode of padding.

    Notes
    -----
    Arguments, their order and the formula of the size are those of ``torch.nn.functional.conv_transpose2d`` [1]_;
    [2]_ draws what they mean. A stride costs no arithmetic on inserted zeros. The bits of an image's result do not
    depend on threads, batch or memory layout. Pixels beyond the edge of `input` may count as zeros, whose product with
    an infinite weight is NaN.

    References
    ----------
    .. [1] PyTorch documentation, https://pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html
    .. [2] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4,
       https://arxiv.org/abs/1603.07285

    Examples
    --------
    Each pixel paints the kernel; where two overlap they add up:

    >>> import numpy as np
    >>> import tileconv as tc
    >>> row, kernel = np.array([[[1, 2, 3]]], np.float32), np.array([[[[1, 1, 1]]]], np.float32)
    >>> tc.conv_transpose2d(row, kernel, stride=2)
    array([[[1., 1., 3., 2., 5., 3., 3.]]], dtype=float32)

    Twice the size:

    >>> image, weight = np.ones((1, 8, 16, 16), np.float32), np.ones((8, 4, 3, 3), np.float32)
    >>> tc.conv_transpose2d(image, weight, stride=2, padding=1, output_padding=1).shape
    (1, 4, 32, 32)
    """
    return _core.conv_transpose2d(
        as_array(input, "input"),
        as_array(weight, "weight"),
        bias if bias is None else as_array(bias, "bias"),
        pair(stride, "stride"),
        four(pair(padding, "padding")),
        pair(output_padding, "output_padding"),
        integer(groups, "groups"),
        pair(dilation, "dilation"),
        out if out is None else writable(out, "out"),
        "auto",
    )


class ConvTranspose2d(Layer):
    r"""2-D transposed convolution layer with the semantics, attributes and initialisation of PyTorch's.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images that come in and go out.
    kernel_size : int or (int, int)
        Height and width of the kernels.
    stride, padding, output_padding, groups, dilation
        As for `conv_transpose2d`.
    bias : bool, default True
        Whether the layer has a bias.
    padding_mode : {'zeros'}, default 'zeros'
        As in ``torch.nn.ConvTranspose2d``, no other mode has a meaning here.
    dtype : dtype_like, default float32
        float32 or float64; the dtype of `weight`, `bias` and of the images.
    rng : int, numpy.random.Generator or anything else that `numpy.random.default_rng` takes, optional
        Where the initial values come from; a seed makes them reproducible.

    Attributes
    ----------
    weight : ndarray, shape (in_channels, out_channels / groups, kernel_size[0], kernel_size[1])
    bias : ndarray, shape (out_channels,), or None
        Plain arrays, writable in place, assigned as for `Conv2d`.
    in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups, padding_mode
        As given, with an int for height and width written as a pair. They cannot be changed.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value, told with the argument's name, what came and what was expected.

    See Also
    --------
    conv_transpose2d : The formulas and their sources.

    Notes
    -----
    Weight and bias are drawn from U(-sqrt(k), sqrt(k)) with k = groups / (out_channels * kH * kW), as
    ``torch.nn.ConvTranspose2d`` [1]_ draws them.

    References
    ----------
    .. [1] PyTorch documentation, https://pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html

    Examples
    --------
    Back to the size that a convolution came from:

    >>> import numpy as np
    >>> import tileconv as tc
    >>> down = tc.Conv2d(3, 16, 3, stride=2, padding=1, rng=0)
    >>> up = tc.ConvTranspose2d(16, 3, 3, stride=2, padding=1, rng=0)
    >>> up
    ConvTranspose2d(16, 3, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> images = np.zeros((1, 3, 12, 12), np.float32)
    >>> up(down(images)).shape, up(down(images), output_size=images.shape).shape
    ((1, 3, 11, 11), (1, 3, 12, 12))
    """

    FIXED = (
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "padding",
        "output_padding",
        "groups",
        "dilation",
        "padding_mode",
    )

    padding: Pair
    output_padding: Pair

    def __init__(
        self,
        in_channels: SupportsIndex,
        out_channels: SupportsIndex,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: SupportsIndex = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        if text(padding_mode, "padding_mode") != "zeros":
            raise ValueError(f"padding_mode of a ConvTranspose2d must be 'zeros', got {padding_mode!r}")
        channels = integer(in_channels, "in_channels"), integer(out_channels, "out_channels")
        kernel = pair(kernel_size, "kernel_size")
        steps, spread, pads = pair(stride, "stride"), pair(dilation, "dilation"), pair(padding, "padding")
        extra, count = pair(output_padding, "output_padding"), integer(groups, "groups")
        # Channels and groups are judged as those of a convolution that has the same, the rest on an image of one pixel.
        weight_shape(*channels, kernel, (steps, four(pads), spread, count, "zeros"))
        pixel, one = np.empty((0, 1, 1, 1), np.float32), np.empty((1, 1, 1, 1), np.float32)
        _core.conv_transpose2d(pixel, one, None, steps, four((0, 0)), extra, 1, spread, None, "auto")
        fixed = *channels, kernel, steps, pads, extra, count, spread, "zeros"
        self._start(fixed, (channels[0], channels[1] // count, *kernel), bias, dtype, rng)

    def __call__(
        self, input: ArrayLike, output_size: Sequence[SupportsIndex] | None = None, *, out: Array | None = None
    ) -> Array:
        """Apply the transposed convolution to images and add the bias.

        Parameters
        ----------
        input : array_like, shape (N, in_channels, H, W) or (in_channels, H, W)
            Of the layer's dtype.
        output_size : tuple of int, optional
            The output's height and width, with or without the axes before them. They decide the output padding in
            place of the layer's `output_padding`, and must be one of the ``stride`` sizes that are possible.
        out : ndarray, optional
            Receives the result, as for `conv_transpose2d`.

        Returns
        -------
        ndarray, shape (N, out_channels, H_out, W_out) or (out_channels, H_out, W_out)

        Raises
        ------
        TypeError, ValueError, MemoryError
            As `conv_transpose2d`; a ValueError also for an impossible `output_size`.
        """
        x = as_array(input, "input")
        extra = self.output_padding
        if output_size is not None and x.ndim in (3, 4):
            extra = self._extra(x.shape, shape(output_size, "output_size"), "output_size")
        return self._forward(x, extra, out)

    def backward(self, input: ArrayLike, grad_output: ArrayLike) -> Conv2dGrads:
        """Gradients of a loss with respect to what `layer(input)` was computed from, for any possible `output_size`.

        The input's gradient is a `conv2d` of `grad_output`; the weight's is that of this `conv2d`, with `input` in
        the place of its output.

        Parameters
        ----------
        input : array_like, shape (N, in_channels, H, W) or (in_channels, H, W)
            As given to the layer.
        grad_output : array_like, shape (N, out_channels, H_out, W_out) or (out_channels, H_out, W_out)
            Gradient of the loss with respect to the layer's output.

        Returns
        -------
        Conv2dGrads
            The named tuple (input, weight, bias).

        Raises
        ------
        TypeError, ValueError, MemoryError
            Arguments that do not fit the layer or each other.

        Examples
        --------
        >>> import numpy as np
        >>> import tileconv as tc
        >>> layer = tc.ConvTranspose2d(4, 2, 3, stride=2, rng=0)
        >>> x = np.ones((1, 4, 5, 5), np.float32)
        >>> grads = layer.backward(x, np.ones_like(layer(x)))
        >>> grads.input.shape, grads.weight.shape, grads.bias
        ((1, 4, 5, 5), (4, 2, 3, 3), array([121., 121.], dtype=float32))
        """
        x, grads = as_array(input, "input"), as_array(grad_output, "grad_output")
        # The core judges the input, as an empty batch of it.
        self._forward(x[None][:0] if x.ndim == 3 else x[:0] if x.ndim == 4 else x, self.output_padding)
        before = *x.shape[:-3], self.out_channels
        if grads.shape[:-2] != before or grads.dtype != x.dtype:
            raise (TypeError if grads.shape[:-2] == before else ValueError)(
                f"grad_output must have {x.ndim} dimensions, {before} before height and width, and dtype {x.dtype}, "
                f"got shape {grads.shape} and dtype {grads.dtype}"
            )
        extra = self._extra(x.shape, grads.shape[-2:], "grad_output")
        # Rows and columns of the output padding that lie beyond the padding are reached by no kernel; without them the
        # convolution leads exactly to the input's size.
        after = [pad - more for pad, more in zip(self.padding, extra)]
        ends = [size + min(side, 0) for size, side in zip(grads.shape[-2:], after)]
        reached = grads[..., : max(ends[0], 0), : max(ends[1], 0)]
        # What ends before the first row or column leaves a part of the padding before it.
        top, left = (pad + min(end, 0) for pad, end in zip(self.padding, ends))
        padding = top, max(after[0], 0), left, max(after[1], 0)
        geometry = self.stride, padding, self.dilation, self.groups, "zeros"
        return Conv2dGrads(
            _core.conv2d(reached, self.weight, None, *geometry, None, "auto"),
            _core.conv2d_weight(reached, self.weight.shape, x, *geometry, None, "auto"),
            None if self.bias is None else conv2d_bias(grads),
        )

    def _forward(self, x: Array, output_padding: Pair, out: Array | None = None) -> Array:
        return _core.conv_transpose2d(
            x,
            self.weight,
            self.bias,
            self.stride,
            four(self.padding),
            output_padding,
            self.groups,
            self.dilation,
            out if out is None else writable(out, "out"),
            "auto",
        )

    def _extra(self, input_shape: tuple[int, ...], size: tuple[int, ...], name: str) -> Pair:
        """The output padding that makes an output of `size`: the layer's own, or what a convolution's stride hides."""
        if len(size) not in (2, len(input_shape)):
            raise ValueError(f"{name} must have 2 or {len(input_shape)} elements for this input, got {size}")
        geometry = zip(input_shape[-2:], self.stride, self.padding, self.dilation, self.kernel_size)
        least = [(n - 1) * step - 2 * pad + spread * (kernel - 1) + 1 for n, step, pad, spread, kernel in geometry]
        vertical, horizontal = (wanted - low for wanted, low in zip(size[-2:], least))
        possible = 0 <= vertical < self.stride[0] and 0 <= horizontal < self.stride[1]
        if not possible and (vertical, horizontal) != self.output_padding:
            most = [low + step - 1 for low, step in zip(least, self.stride)]
            raise ValueError(
                f"{name} asks for an output of {size[-2:]}, but only {tuple(least)} to {tuple(most)} are possible for "
                f"an input of {input_shape[-2:]}"
            )
        return vertical, horizontal


def four(padding: Pair) -> tuple[int, int, int, int]:
    """The same on both sides of each axis, as (top, bottom, left, right)."""
    vertical, horizontal = padding
    return vertical, vertical, horizontal, horizontal
