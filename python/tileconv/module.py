"""`Conv2d`: a layer that keeps its weights, can pack them once (`freeze`), and has gradients (`backward`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from . import _core
from ._forms import as_array, geometry, integer, pair, short_padding, writable
from ._layer import Layer, weight_shape
from .grad import Conv2dGrads, conv2d_bias

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from numpy.typing import DTypeLike

    from ._core import Array, Pair
    from ._forms import ArrayLike, Geometry, Padding, Size


class Conv2d(Layer):
    r"""2-D convolution layer with the semantics, attributes and initialisation of ``torch.nn.Conv2d``.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the images that come in and go out.
    kernel_size : int or (int, int)
        Height and width of the kernels.
    stride, padding, dilation, groups, padding_mode
        As for `conv2d`.
    bias : bool, default True
        Whether the layer has a bias.
    dtype : dtype_like, default float32
        float32 or float64; the dtype of `weight`, `bias` and of the images.
    rng : int, numpy.random.Generator or anything else that `numpy.random.default_rng` takes, optional
        Where the initial values come from; a seed makes them reproducible.

    Attributes
    ----------
    weight : ndarray, shape (out_channels, in_channels / groups, kernel_size[0], kernel_size[1])
    bias : ndarray, shape (out_channels,), or None
        Plain arrays, writable in place. An array assigned to them is kept, not copied; its shape and dtype must be
        those of the layer.
    in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        As given, with an int for height and width written as a pair. They cannot be changed.

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong kind or value, told with the argument's name, what came and what was expected; also
        on assignment of a `weight` or `bias` that does not fit, and of any while the layer is frozen.

    Notes
    -----
    The output's size is, for the height and likewise for the width,
    ``floor((H + pad_top + pad_bottom - dilation[0] * (kernel_size[0] - 1) - 1) / stride[0] + 1)``.

    Weight and bias are drawn from U(-sqrt(k), sqrt(k)) with k = groups / (in_channels * kH * kW), PyTorch's
    default: He's uniform initialisation [1]_ for leaky rectifiers of slope sqrt(5), whose bound
    sqrt(6 / ((1 + 5) * fan_in)) is sqrt(k).

    A layer may be called from several threads at once, but not while its arrays are written or it is being frozen.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
       ImageNet Classification", ICCV 2015, https://arxiv.org/abs/1502.01852

    Examples
    --------
    >>> import numpy as np
    >>> import tileconv as tc
    >>> layer = tc.Conv2d(3, 16, 3, stride=2, padding=1, rng=0)
    >>> layer
    Conv2d(3, 16, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer(np.zeros((1, 3, 32, 32), np.float32)).shape
    (1, 16, 16, 16)
    >>> layer.weight.shape, layer.bias.shape
    ((16, 3, 3, 3), (16,))

    Many calls with the same weights are faster with these packed once:

    >>> layer.freeze()
    Conv2d(3, 16, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
    >>> layer.weight[:] = 0
    Traceback (most recent call last):
        ...
    ValueError: assignment destination is read-only
    """

    FIXED = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")

    padding: Pair | tuple[Pair, Pair] | str

    _geometry: Geometry
    _run: Callable[[Array, Array | None], Array] | None  # of a frozen layer: the method of its packed weights
    _locked: dict[str, Array]  # the writable arrays that `freeze` locked, which `unfreeze` puts back

    def __init__(
        self,
        in_channels: SupportsIndex,
        out_channels: SupportsIndex,
        kernel_size: Size,
        stride: Size = 1,
        padding: Padding = 0,
        dilation: Size = 1,
        groups: SupportsIndex = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        checked = geometry(stride, padding, dilation, groups, padding_mode)
        channels = integer(in_channels, "in_channels"), integer(out_channels, "out_channels")
        kernel = pair(kernel_size, "kernel_size")
        shape = weight_shape(*channels, kernel, checked)
        self._start((*channels, kernel, checked[0], short_padding(checked[1]), *checked[2:]), shape, bias, dtype, rng)
        self._geometry, self._run, self._locked = checked, None, {}

    def __call__(self, input: ArrayLike, out: Array | None = None) -> Array:
        """Convolve images with the layer's weight and add its bias.

        Parameters
        ----------
        input : array_like, shape (N, in_channels, H, W) or (in_channels, H, W)
            Of the layer's dtype.
        out : ndarray, optional
            Receives the result, as for `conv2d`.

        Returns
        -------
        ndarray, shape (N, out_channels, H_out, W_out) or (out_channels, H_out, W_out)

        Raises
        ------
        TypeError, ValueError, MemoryError
            As `conv2d`.
        """
        if type(input) is not ndarray or not input.dtype.isnative:
            input = as_array(input, "input")
        if out is not None:
            out = writable(out, "out")
        run = self._run
        if run is not None:
            return run(input, out)
        return _core.conv2d(input, self.weight, self.bias, *self._geometry, out, "auto")

    def backward(self, input: ArrayLike, grad_output: ArrayLike) -> Conv2dGrads:
        """Gradients of a loss with respect to what `layer(input)` was computed from.

        The layer keeps nothing of a call and nothing here: the gradients belong to the weight that it has now.

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
            As `grad.conv2d_input` and `grad.conv2d_weight`.

        Examples
        --------
        A step of gradient descent on the squared error:

        >>> import numpy as np
        >>> import tileconv as tc
        >>> layer = tc.Conv2d(1, 1, 3, padding=1, rng=0)
        >>> x, wanted = np.ones((1, 1, 8, 8), np.float32), np.zeros((1, 1, 8, 8), np.float32)
        >>> before = layer(x) - wanted
        >>> grads = layer.backward(x, 2 * before)
        >>> layer.weight -= np.float32(1e-3) * grads.weight
        >>> layer.bias -= np.float32(1e-3) * grads.bias
        >>> bool(np.square(layer(x) - wanted).sum() < np.square(before).sum())
        True
        """
        x, grads = as_array(input, "input"), as_array(grad_output, "grad_output")
        weight = _core.conv2d_weight(x, self.weight.shape, grads, *self._geometry, None, "auto")
        return Conv2dGrads(
            _core.conv2d_input(x.shape, self.weight, grads, *self._geometry, None, "auto"),
            weight,
            None if self.bias is None else conv2d_bias(grads),
        )

    def freeze(self) -> Conv2d:
        """Pack the weights once for all later calls and make `weight` and `bias` read-only.

        The packed weights do not follow writes through other arrays on the same memory, which NumPy cannot refuse:
        there must be none while the layer is frozen. An array that two frozen layers share is writable again as soon
        as the layer that was frozen first, or a copy of it, is unfrozen.

        Returns
        -------
        Conv2d
            The layer itself.

        Examples
        --------
        >>> import tileconv as tc
        >>> layer = tc.Conv2d(1, 1, 3).freeze()
        >>> layer.weight.flags.writeable, layer.unfreeze().weight.flags.writeable
        (False, True)
        """
        if self._run is None:
            self._run = _core.FrozenConv2d(self.weight, self.bias, *self._geometry).run
            self._locked = {name: array for name, array in self.state_dict().items() if array.flags.writeable}
            self.__dict__.update((name, read_only(array)) for name, array in self._locked.items())
        return self

    def unfreeze(self) -> Conv2d:
        """Drop the packed weights and make `weight` and `bias` writable again, as they were before `freeze`.

        Returns
        -------
        Conv2d
            The layer itself.
        """
        for array in self._locked.values():
            if array.flags.owndata:
                array.flags.writeable = True
        self.__dict__.update(self._locked)
        self._run, self._locked = None, {}
        return self

    def _before_change(self, what: str) -> None:
        if self._run is not None:
            raise ValueError(f"{what} cannot be set while the layer is frozen: call unfreeze() first")

    def __getstate__(self) -> dict[str, Any]:
        """All but the packed weights, which hold pointers: they are packed again where the state is loaded."""
        return {**self.__dict__, **self._locked, "_run": self._run is not None, "_locked": list(self._locked)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _run=None, _locked={})
        # Protocol 5 of pickle gives an array that was locked the memory of bytes, which nothing makes writable.
        self.__dict__.update(
            (name, array.copy()) for name, array in self.state_dict().items() if isinstance(owner(array), bytes)
        )
        if state["_run"]:
            self.freeze()
            # Those of the layer that was copied are locked already; they are writable when the copy is unfrozen.
            self._locked = {name: self._locked.get(name, getattr(self, name)) for name in state["_locked"]}


def owner(array: Array) -> object:
    """What the memory of `array` belongs to, if not to an array; else None."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base


def read_only(array: Array) -> Array:
    """`array` itself made read-only, or a read-only view where NumPy could not make it writable again.

    NumPy gives the flag back only to an array that owns its memory; one that lies in a tensor of PyTorch's or in a
    pickle's bytes would stay read-only for ever.
    """
    locked = array if array.flags.owndata else array.view()
    locked.flags.writeable = False
    return locked
