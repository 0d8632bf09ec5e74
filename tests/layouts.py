"""Arrays in every kind of memory layout, and output arrays whose surroundings can be checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import reference
from cases import Array, Case
from checks import assert_accurate, assert_same_bits, runs

OUT_LAYOUTS = ("contiguous", "unaligned", "margins", "nhwc", "reversed", "sliced", "transposed", "fortran")
LAYOUTS = (*OUT_LAYOUTS, "broadcast", "readonly")
SENTINEL = 77.0

_AXES = {"nhwc": (0, 2, 3, 1), "transposed": (1, 0, 3, 2), "fortran": (3, 2, 1, 0)}


def room(shape: tuple[int, ...], dtype: np.dtype[Any], layout: str) -> tuple[Array, Array]:
    """(backing, view): memory full of SENTINEL, and a view of `shape` in it that leaves a margin all round."""
    if layout in ("contiguous", "unaligned"):
        count, offset = int(np.prod(shape)), layout == "unaligned"
        raw = np.empty((count + 4) * dtype.itemsize + 1, np.uint8)
        backing = raw[offset : len(raw) - 1 + offset].view(dtype)
        backing[...] = SENTINEL
        return backing, backing[2:-2].reshape(shape)
    rank = len(shape)
    steps = tuple(2 + axis % 2 for axis in range(rank)) if layout == "sliced" else (1,) * rank
    order = _AXES[layout] if rank == 4 and layout in _AXES else tuple(range(rank))
    backing = np.full([shape[axis] * steps[axis] + 4 for axis in order], SENTINEL, dtype)
    view = backing.transpose(np.argsort(order))
    view = view[tuple(slice(2, 2 + n * step, step) for n, step in zip(shape, steps))]
    return backing, view[(slice(None, None, -1),) * rank] if layout == "reversed" else view


def arrange(values: Array, layout: str) -> Array:
    """An array of the same shape in another layout; the same values, but "broadcast" repeats the first channel."""
    if layout == "broadcast":
        strides = list(values.strides)
        strides[values.ndim // 3] = 0
        return as_strided(values, strides=strides, writeable=False)
    view = room(values.shape, values.dtype, layout)[1]
    view[...] = values
    view.flags.writeable = layout != "readonly"
    return view


def assert_layout_means_nothing(case: Case, x: Array, w: Array, b: Array | None, algorithm: str, layout: str) -> None:
    """The right values, and the same bits from a contiguous copy and with frozen weights."""
    arranged = arrange(x, layout)
    expected = reference.conv2d(arranged, w, b, **case.options)
    layers = [run for _, _, run in runs(case, w, b, [algorithm])]
    found = [run(values) for values in (arranged, arranged.copy()) for run in layers]
    assert_accurate(found[0], expected, str(case))
    for other in found[1:]:
        assert_same_bits(other, found[0], f"{case} | {layout}")
