"""Argument forms: brings what a user may write to the one form that `_core` takes.

Called by every public module. Only the form is judged here (is it an int, a pair, an array at
all?); values are judged by the core, so that every entry point reports them alike.
"""

from __future__ import annotations

import operator
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, SupportsIndex, TypeAlias

    from typing_extensions import Buffer

    from . import _core
    from ._core import Array, Pair

    class SupportsArray(Protocol):
        def __array__(self) -> Array: ...

    class SupportsDLPack(Protocol):
        def __dlpack__(self) -> Any: ...

    ArrayLike: TypeAlias = Array | Buffer | SupportsArray | SupportsDLPack
    Size: TypeAlias = SupportsIndex | tuple[SupportsIndex, SupportsIndex] | list[SupportsIndex]
    Padding: TypeAlias = Size | tuple[tuple[SupportsIndex, SupportsIndex], tuple[SupportsIndex, SupportsIndex]] | str
    Geometry: TypeAlias = tuple[Pair, _core.Padding, Pair, int, str]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
PADDING_FORMS = (
    "an int, a pair (h, w), ((top, bottom), (left, right)) or one of 'valid', 'same', 'same_upper', 'same_lower'"
)


def describe(value: object) -> str:
    """What came, for an error message: a shortened repr and the type."""
    if value is None:
        return "None"
    shown = reprlib.repr(value)
    return f"{shown if len(shown) <= 80 else shown[:77] + '...'} ({type(value).__name__})"


def integer(value: object, name: str, expected: str = "an int", whole: object = None) -> int:
    """`value` as an int of 64 bits; `whole` is what the user wrote if `value` is only an item of it."""
    if type(value) is not int:
        try:
            if isinstance(value, bool):
                raise TypeError
            value = int(operator.index(value))  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{name} must be {expected}, got {describe(value if whole is None else whole)}") from None
    if not INT64_MIN <= value <= INT64_MAX:
        bits = value.bit_length()
        raise ValueError(f"{name} must fit in an int64, got {value if bits < 200 else f'an int of {bits} bits'}")
    return value


def pair(value: object, name: str, expected: str = "an int or a pair of ints") -> Pair:
    """An int or a pair of ints as (vertical, horizontal)."""
    if not isinstance(value, (tuple, list)):
        both = integer(value, name, expected)
        return both, both
    if len(value) != 2:
        raise ValueError(f"{name} must be {expected}, got {describe(value)}")
    return integer(value[0], name, expected, value), integer(value[1], name, expected, value)


def padding4(value: object) -> _core.Padding:
    """Any form of `padding` as (top, bottom, left, right) or a name."""
    if isinstance(value, str):
        return utf8(value)
    if not isinstance(value, (tuple, list)) or not value or not isinstance(value[0], (tuple, list)):
        vertical, horizontal = pair(value, "padding", PADDING_FORMS)
        return vertical, vertical, horizontal, horizontal
    if len(value) != 2 or not all(isinstance(side, (tuple, list)) and len(side) == 2 for side in value):
        raise ValueError(f"padding must be {PADDING_FORMS}, got {describe(value)}")
    top, bottom, left, right = (integer(n, "padding", PADDING_FORMS, value) for side in value for n in side)
    return top, bottom, left, right


def short_padding(padding: _core.Padding) -> Pair | tuple[Pair, Pair] | str:
    """What `padding4` gave, as people read it: PyTorch's pair wherever one says it all."""
    if isinstance(padding, str):
        return padding
    top, bottom, left, right = padding
    return (top, left) if (top, left) == (bottom, right) else ((top, bottom), (left, right))


def shape(value: object, name: str) -> tuple[int, ...]:
    """A sequence of ints as a tuple."""
    expected = "a tuple of ints"
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be {expected}, got {describe(value)}")
    return tuple(integer(size, name, expected, value) for size in value)


def text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {describe(value)}")
    return utf8(value)


def utf8(value: str) -> str:
    """`value` as the core can read it: half of a surrogate pair is no UTF-8 and shows as its escape sequence."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def geometry(stride: object, padding: object, dilation: object, groups: object, padding_mode: object) -> Geometry:
    """The arguments that every convolution has after its arrays, in the order of `_core`."""
    return (
        pair(stride, "stride"),
        padding4(padding),
        pair(dilation, "dilation"),
        integer(groups, "groups"),
        text(padding_mode, "padding_mode"),
    )


def flag(value: object, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {describe(value)}")
    return bool(value)


def real_dtype(value: object) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] | None = None if value is None else np.dtype(value).newbyteorder("=")  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found is None or found not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {describe(value) if found is None else found}")
    return found


def generator(rng: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a seed or a numpy.random.Generator, got {describe(rng)}") from error


def as_array(value: object, name: str) -> Array:
    """A plain native-endian ndarray over the memory of `value`, copied only where that memory cannot be viewed."""
    if type(value) is not np.ndarray:
        value = view(value, name)
    return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))


def view(value: object, name: str) -> Array:
    """`value` as a plain ndarray, through whatever it exports."""
    refuse_masked(value, name)
    viewer = viewer_of(value)
    if viewer is None:
        hint = "; numpy.asarray(x, numpy.float32) makes an array" if isinstance(value, (list, tuple)) else ""
        raise TypeError(
            f"{name} must be a NumPy array or export a buffer, __array__ or DLPack, got {describe(value)}{hint}"
        )
    try:
        return viewer(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} ({type(value).__name__}) cannot be viewed as an array: {error}") from error


def viewer_of(value: object) -> Callable[[Any], Array] | None:
    """NumPy's function that views `value` without a copy, None if `value` exports no array."""
    if isinstance(value, (np.generic, bytes, type)):
        return None
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        return np.asarray
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    return np.asarray


def writable(value: object, name: str) -> Array:
    """`value` itself, which must be an ndarray: results are written into it, so a converted copy would lose them."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {describe(value)}")
    if type(value) is not np.ndarray:
        refuse_masked(value, name)
    return value


def refuse_masked(value: object, name: str) -> None:
    """Masked arrays are refused: convolution knows no masks and would silently use the values under them."""
    if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array, its mask would be lost: pass its .filled(value) or .data")
