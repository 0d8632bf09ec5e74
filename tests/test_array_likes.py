"""Arrays that are not plain ndarrays: whatever exports a buffer, `__array__` or DLPack comes in."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import BY_NAME, Array
from checks import assert_exact


class Exporter:
    def __init__(self, array: Array) -> None:
        self.array = array


class WithArray(Exporter):
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.array


class WithInterface(Exporter):
    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.array.__array_interface__


class WithDLPack(Exporter):
    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class Subclass(np.ndarray):
    pass


EXPORTERS: dict[str, Callable[[Array], Any]] = {
    "__array__": WithArray,
    "__array_interface__": WithInterface,
    "DLPack": WithDLPack,
    "memoryview": memoryview,
    "subclass": lambda array: array.view(Subclass),
}
each_exporter = pytest.mark.parametrize("export", EXPORTERS.values(), ids=EXPORTERS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def byte_swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder())


def spelt_out(array: Array) -> Array:
    """The machine's own order, but not as NumPy abbreviates it."""
    return array.view(array.dtype.newbyteorder().newbyteorder())


@each_dtype
@pytest.mark.parametrize(
    "export", [*EXPORTERS.values(), byte_swapped, spelt_out], ids=[*EXPORTERS, "byte_swapped", "spelt_out"]
)
def test_exported_arrays_come_in(export: Callable[[Array], Any], dtype: type) -> None:
    x, w, b = (array.astype(dtype) for array in BY_NAME["tiny.lenet"].integers() if array is not None)
    expected = reference.conv2d(x, w, b)
    y = tc.conv2d(export(x), export(w), export(b))
    assert type(y) is np.ndarray
    assert y.dtype == np.dtype(dtype)
    assert_exact(y, expected, "conv2d")
    layer = tc.Conv2d(1, 6, 5, dtype=dtype)
    layer.load_state_dict({"weight": export(w), "bias": export(b)})
    assert_exact(layer(export(x)), expected, "loaded")
    layer = tc.Conv2d(1, 6, 5, dtype=dtype)
    layer.weight, layer.bias = export(w), export(b)
    assert_exact(layer.freeze()(export(x)), expected, "assigned and frozen")


@each_exporter
def test_exported_arrays_are_not_copied(export: Callable[[Array], Any]) -> None:
    x, w = np.ones((1, 8, 512, 512), np.float32), np.ones((1, 8, 1, 1), np.float32)
    tracemalloc.start()
    try:
        y = tc.conv2d(export(x), w, stride=8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (y == 8).all()
    assert peak < x.nbytes / 8


def test_a_broken_exporter_is_a_type_error() -> None:
    class Broken:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
            raise RuntimeError("on another device")

    with pytest.raises(TypeError, match=r"input.*Broken.*on another device"):
        tc.conv2d(Broken(), np.ones((1, 1, 1, 1), np.float32))
