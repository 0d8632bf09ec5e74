"""What the layers `Conv2d` and `ConvTranspose2d` share: parameters, their initial values and state, fixed geometry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from . import _core
from ._forms import as_array, describe, flag, generator, real_dtype

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from ._core import Array, Pair
    from ._forms import ArrayLike, Geometry

PARAMETERS = ("weight", "bias")


class Layer:
    """A convolution with a weight and, maybe, a bias.

    `FIXED` names the attributes that a subclass gives to `_start`: the layer's arguments as PyTorch shows them.
    """

    FIXED: ClassVar[tuple[str, ...]]

    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair
    dilation: Pair
    groups: int
    padding_mode: str
    weight: Array
    bias: Array | None

    def _start(
        self,
        fixed: tuple[object, ...],
        weight_shape: tuple[int, ...],
        bias: object,
        dtype: DTypeLike,
        rng: int | np.random.Generator | None,
    ) -> None:
        """Set the values of `FIXED`, and draw weight and bias from U(-b, b) with b = 1 / sqrt(size of weight[0])."""
        biased, dtype, source = flag(bias, "bias"), real_dtype(dtype), generator(rng)
        bound = 1 / math.sqrt(math.prod(weight_shape[1:]))

        def draw(size: tuple[int, ...]) -> Array:
            return source.uniform(-bound, bound, size).astype(dtype, copy=False)

        self.__dict__.update(zip(self.FIXED, fixed))
        self.__dict__.update(weight=draw(weight_shape), bias=draw((self.out_channels,)) if biased else None)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.FIXED:
            raise AttributeError(f"{name} of a {type(self).__name__} is fixed when it is made: make a new layer")
        if name in PARAMETERS:
            self._before_change(name)
            value = self._parameter(name, value)
        super().__setattr__(name, value)

    def _before_change(self, what: str) -> None:
        """Raise where `what`, a parameter or the state, cannot be changed now."""

    def _parameter(self, name: str, value: object) -> Array | None:
        """`value` as this layer's new `weight` or `bias`; a plain ndarray stays the same object."""
        if name == "bias" and value is None:
            return None
        array = as_array(value, name)
        shape = self.weight.shape if name == "weight" else (self.out_channels,)
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
            As `state_dict` returns it, or as PyTorch's layer of the same name does. float64 and float32 are converted.

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
        self._before_change("state_dict")
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
            raise ValueError("\n    ".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *errors]))
        for name, value in values.items():
            if not np.can_cast(value.dtype, own[name].dtype, "same_kind"):
                raise TypeError(f"{name} must have a real dtype to become {own[name].dtype}, got {value.dtype}")
        for name, value in values.items():
            np.copyto(own[name], value, casting="same_kind")

    def __repr__(self) -> str:
        shown = [str(self.in_channels), str(self.out_channels)]
        shown += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        usual = {"padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0), "groups": 1}
        given = {name: getattr(self, name) for name in usual if name in self.FIXED}
        shown += [f"{name}={value}" for name, value in given.items() if value != usual[name]]
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return f"{type(self).__name__}({', '.join(shown)})"


def weight_shape(in_channels: int, out_channels: int, kernel: Pair, geometry: Geometry) -> tuple[int, int, int, int]:
    """The shape of a layer's weight, once its arguments are found to be right for some image.

    The core judges them with a kernel and an image of one pixel, which are never too small or too large for each other.
    """
    for name, least in (("in_channels", in_channels), ("out_channels", out_channels), ("kernel_size", min(kernel))):
        if least < 1:
            raise ValueError(f"{name} must be at least 1, got {kernel if name == 'kernel_size' else least}")
    stride, padding, dilation, groups, padding_mode = geometry
    if not isinstance(padding, str) and min(padding) >= 0:
        padding = 0, 0, 0, 0
    channels = out_channels, max(1, in_channels // max(1, groups))
    checked: Geometry = stride, padding, dilation, groups, padding_mode
    dtype = np.dtype(np.float32)
    _core.explain((in_channels, 1, 1), (*channels, 1, 1), False, *checked, dtype, "auto", False, "forward")
    return (*channels, *kernel)
