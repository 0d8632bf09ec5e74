"""`Conv2d`: a layer that keeps its weights and can pack them once (`freeze`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._forms import (
    as_array,
    describe,
    flag,
    generator,
    integer,
    padding4,
    pair,
    real_dtype,
    short_padding,
    text,
    writable,
)

if TYPE_CHECKING:
    from typing import SupportsIndex, TypeAlias

    from numpy.typing import DTypeLike

    from ._core import Array, Pair
    from ._forms import ArrayLike, Padding, Size

    Arguments: TypeAlias = tuple[Pair, _core.Padding, Pair, int, str]

PARAMETERS = ("weight", "bias")
FIXED = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


class Conv2d:
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

    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Pair | tuple[Pair, Pair] | str
    dilation: Pair
    groups: int
    padding_mode: str
    weight: Array
    bias: Array | None

    _arguments: Arguments  # as `_core` takes them after the arrays
    _handle: _core.FrozenConv2d | None
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
        arguments = (
            pair(stride, "stride"),
            padding4(padding),
            pair(dilation, "dilation"),
            integer(groups, "groups"),
            text(padding_mode, "padding_mode"),
        )
        channels = integer(in_channels, "in_channels"), integer(out_channels, "out_channels")
        kernel = pair(kernel_size, "kernel_size")
        shape = weight_shape(*channels, kernel, arguments)
        biased, dtype, source = flag(bias, "bias"), real_dtype(dtype), generator(rng)
        bound = 1 / math.sqrt(math.prod(shape[1:]))

        def draw(size: tuple[int, ...]) -> Array:
            return source.uniform(-bound, bound, size).astype(dtype, copy=False)

        fixed = (*channels, kernel, arguments[0], short_padding(arguments[1]), *arguments[2:])
        self.__dict__.update(zip(FIXED, fixed))
        self.__dict__.update(weight=draw(shape), bias=draw(shape[:1]) if biased else None)
        self._arguments, self._handle, self._locked = arguments, None, {}

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
        if type(input) is not np.ndarray or not input.dtype.isnative:
            input = as_array(input, "input")
        if out is not None:
            out = writable(out, "out")
        handle = self._handle
        if handle is not None:
            return handle(input, out)
        return _core.conv2d(input, self.weight, self.bias, *self._arguments, out, "auto")

    def freeze(self) -> Conv2d:
        """Pack the weights once for all later calls and make `weight` and `bias` read-only.

        The packed weights do not follow writes through other arrays on the same memory, which NumPy cannot refuse:
        there must be none while the layer is frozen. An array that two frozen layers share is writable again as soon
        as the layer that was frozen first is unfrozen.

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
        if self._handle is None:
            self._handle = _core.FrozenConv2d(self.weight, self.bias, *self._arguments)
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
        self._handle, self._locked = None, {}
        return self

    def __setattr__(self, name: str, value: object) -> None:
        if name in FIXED:
            raise AttributeError(f"{name} of a Conv2d is fixed when it is made: make a new layer")
        if name in PARAMETERS:
            self._refuse_frozen(name)
            value = self._parameter(name, value)
        super().__setattr__(name, value)

    def _refuse_frozen(self, what: str) -> None:
        if self._handle is not None:
            raise ValueError(f"{what} cannot be set while the layer is frozen: call unfreeze() first")

    def _parameter(self, name: str, value: object) -> Array | None:
        """`value` as this layer's new `weight` or `bias`; a plain ndarray stays the same object."""
        if name == "bias" and value is None:
            return None
        array = as_array(value, name)
        shape = self.weight.shape if name == "weight" else self.weight.shape[:1]
        if array.shape != shape or array.dtype != self.weight.dtype:
            raise (TypeError if array.shape == shape else ValueError)(
                f"{name} must have shape {shape} and dtype {self.weight.dtype}, got {array.shape} and {array.dtype}"
            )
        return array

    def state_dict(self) -> dict[str, Array]:
        """The parameters by PyTorch's names, 'weight' and 'bias' (if there is one): the arrays themselves, no copies.

        Examples
        --------
        >>> import tileconv as tc
        >>> {name: array.shape for name, array in tc.Conv2d(2, 4, 3).state_dict().items()}
        {'weight': (4, 2, 3, 3), 'bias': (4,)}
        """
        parameters = {"weight": self.weight, "bias": self.bias}
        return {name: array for name, array in parameters.items() if array is not None}

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Copy the values of `state_dict` into the layer's arrays: all of them, or none if anything does not fit.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            As `state_dict` returns it, or as a ``torch.nn.Conv2d`` does. float64 and float32 are converted.

        Raises
        ------
        ValueError
            Names are missing or unexpected, shapes differ (all are listed), or the layer is frozen.
        TypeError
            A value is no array, or not of a real dtype.

        Examples
        --------
        >>> import tileconv as tc
        >>> tc.Conv2d(1, 1, 3).load_state_dict({"weight": tc.Conv2d(1, 1, 5).weight})
        Traceback (most recent call last):
            ...
        ValueError: Error(s) in loading state_dict for Conv2d:
            Missing key(s) in state_dict: "bias".
            size mismatch for weight: got shape (1, 1, 5, 5), expected (1, 1, 3, 3).
        """
        self._refuse_frozen("state_dict")
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict must be a mapping of names to arrays, got {describe(state_dict)}")
        own = self.state_dict()
        values = {name: as_array(state_dict[name], name) for name in own if name in state_dict}
        missing = [f'"{name}"' for name in own if name not in state_dict]
        unexpected = [f'"{name}"' for name in state_dict if name not in own]
        errors = [
            f"{kind} key(s) in state_dict: {', '.join(names)}."
            for kind, names in (("Missing", missing), ("Unexpected", unexpected))
            if names
        ]
        errors += [
            f"size mismatch for {name}: got shape {value.shape}, expected {own[name].shape}."
            for name, value in values.items()
            if value.shape != own[name].shape
        ]
        if errors:
            raise ValueError("\n    ".join(["Error(s) in loading state_dict for Conv2d:", *errors]))
        for name, value in values.items():
            if not np.can_cast(value.dtype, own[name].dtype, "same_kind"):
                raise TypeError(f"{name} must have a real dtype to become {own[name].dtype}, got {value.dtype}")
        for name, value in values.items():
            np.copyto(own[name], value, casting="same_kind")

    def __repr__(self) -> str:
        shown = [str(self.in_channels), str(self.out_channels)]
        shown += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        usual = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        shown += [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        """All but the packed weights, which hold pointers: they are packed again where the state is loaded."""
        return {**self.__dict__, "_handle": self._handle is not None, "_locked": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _handle=None)
        if state["_handle"]:
            self.freeze()


def read_only(array: Array) -> Array:
    """`array` itself made read-only, or a read-only view where NumPy could not make it writable again.

    NumPy gives the flag back only to an array that owns its memory; one that lies in a tensor of PyTorch's or in a
    pickle's bytes would stay read-only for ever.
    """
    locked = array if array.flags.owndata else array.view()
    locked.flags.writeable = False
    return locked


def weight_shape(in_channels: int, out_channels: int, kernel: Pair, arguments: Arguments) -> tuple[int, int, int, int]:
    """The shape of a layer's weight, once its arguments are found to be right for some image.

    The core judges them with a kernel and an image of one pixel, which are never too small or too large for each other.
    """
    for name, least in (("in_channels", in_channels), ("out_channels", out_channels), ("kernel_size", min(kernel))):
        if least < 1:
            raise ValueError(f"{name} must be at least 1, got {kernel if name == 'kernel_size' else least}")
    stride, padding, dilation, groups, padding_mode = arguments
    if not isinstance(padding, str) and min(padding) >= 0:
        padding = 0, 0, 0, 0
    channels = out_channels, max(1, in_channels // max(1, groups))
    geometry = stride, padding, dilation, groups, padding_mode
    _core.explain((in_channels, 1, 1), (*channels, 1, 1), False, *geometry, np.dtype(np.float32), "auto", False, "forward")
    return (*channels, *kernel)
