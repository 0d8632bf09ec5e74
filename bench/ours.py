"""tileconv's own rows: the frozen layer, the plain function, and each algorithm by its name."""

from typing import Any, ClassVar

import numpy as np

from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array, Layer

Pair = tuple[int, int]


class Ours(Contestant):
    modules = ("tileconv",)
    dtypes = ("float32", "float64")


class Frozen(Ours):
    name = "tileconv"

    def prepare(self, layer: Layer, x: Array, weight: Array, bias: Array, threads: int) -> dict[str, Call]:
        import tileconv as tc

        tc.set_num_threads(threads)
        module = tc.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            padding_mode=layer.padding_mode,
            dtype=x.dtype,
        )
        module.load_state_dict({"weight": weight, "bias": bias})
        module.freeze()
        return {"": lambda: module(x)}


class Unfrozen(Ours):
    name = "tileconv_unfrozen"

    def prepare(self, layer: Layer, x: Array, weight: Array, bias: Array, threads: int) -> dict[str, Call]:
        import tileconv as tc

        tc.set_num_threads(threads)
        geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
        mode = layer.padding_mode
        return {"": lambda: tc.conv2d(x, weight, bias, *geometry, padding_mode=mode)}


class Algorithm(Ours):
    """One algorithm, with weights packed beforehand."""

    limit_seconds: ClassVar[float] = 1.0

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.name = f"tileconv:{algorithm}"

    def prepare(self, layer: Layer, x: Array, weight: Array, bias: Array, threads: int) -> dict[str, Call]:
        import tileconv as tc
        from tileconv import _core

        tc.set_num_threads(threads)
        try:
            planned(layer, x.dtype, self.algorithm)
        except ValueError as error:
            raise Unsupported(str(error)) from error
        frozen, algorithm = _core.FrozenConv2d(weight, bias, *core_geometry(layer)), self.algorithm
        return {"": lambda: frozen(x, None, algorithm)}


def core_geometry(layer: Layer) -> tuple[Pair, tuple[int, int, int, int], Pair, int, str]:
    """The arguments of the compiled core from stride to padding_mode."""
    pads = (layer.pad_h, layer.pad_h, layer.pad_w, layer.pad_w)
    return layer.stride, pads, layer.dilation, layer.groups, layer.padding_mode


def planned(layer: Layer, dtype: np.dtype[Any], algorithm: str = "auto") -> str:
    """The algorithm that runs the frozen layer; ValueError if it is named and cannot."""
    from tileconv import _core

    frozen = True
    shapes = layer.input_shape, layer.weight_shape
    found = _core.explain(*shapes, True, *core_geometry(layer), dtype, algorithm, frozen, "forward")
    return str(found["algorithm"])


def algorithms() -> list[Contestant]:
    from tileconv import _core

    return [Algorithm(name) for name in _core.algorithms()]


OURS: dict[str, type[Contestant]] = {contestant.name: contestant for contestant in (Frozen, Unfrozen)}
