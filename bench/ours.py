"""tileconv's own rows: what its users call, the plain function, and each algorithm by its name."""

from typing import ClassVar

from bench.case import Case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Layer
from bench.passes import PASSES

Pair = tuple[int, int]


class Ours(Contestant):
    modules = ("tileconv",)
    dtypes = ("float32", "float64")


class Tileconv(Ours):
    """The frozen layer; where there is nothing to freeze, in gradients and transposed layers, the function."""

    name = "tileconv"
    passes = PASSES

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        import tileconv as tc

        tc.set_num_threads(threads)
        prepare = {"forward": self.forward, "transposed": self.transposed}.get(case.pass_, gradient)
        return {"": prepare(case)}

    @staticmethod
    def forward(case: Case) -> Call:
        import tileconv as tc

        layer, x = case.layer, case.x
        module = tc.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            padding_mode=layer.padding_mode,
            dtype=case.dtype,
        )
        module.load_state_dict({"weight": case.weight, "bias": case.bias})
        module.freeze()
        return lambda: module(x)

    @staticmethod
    def transposed(case: Case) -> Call:
        import tileconv as tc

        layer, x, weight, bias = case.layer, case.x, case.weight, case.bias
        geometry = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
        return lambda: tc.conv_transpose2d(x, weight, bias, *geometry)


class Unfrozen(Ours):
    name = "tileconv_unfrozen"

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        import tileconv as tc

        tc.set_num_threads(threads)
        layer, x, weight, bias = case.layer, case.x, case.weight, case.bias
        geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
        mode = layer.padding_mode
        return {"": lambda: tc.conv2d(x, weight, bias, *geometry, padding_mode=mode)}


class Algorithm(Ours):
    """One algorithm, with weights packed beforehand where they can be."""

    passes = PASSES
    limit_seconds: ClassVar[float] = 1.0

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        self.name = f"tileconv:{algorithm}"

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        import tileconv as tc

        tc.set_num_threads(threads)
        try:
            planned(case, self.algorithm)
        except ValueError as error:
            raise Unsupported(str(error)) from error
        prepare = {"forward": self.forward, "transposed": self.transposed}.get(case.pass_, gradient)
        return {"": prepare(case, self.algorithm)}

    @staticmethod
    def forward(case: Case, algorithm: str) -> Call:
        from tileconv import _core

        x, frozen = case.x, _core.FrozenConv2d(case.weight, case.bias, *core_geometry(case.layer))
        return lambda: frozen.run(x, None, algorithm)

    @staticmethod
    def transposed(case: Case, algorithm: str) -> Call:
        from tileconv import _core

        x, weight, bias, extra = case.x, case.weight, case.bias, case.layer.output_padding
        stride, pads, dilation, groups, _ = core_geometry(case.layer)
        return lambda: _core.conv_transpose2d(x, weight, bias, stride, pads, extra, groups, dilation, None, algorithm)


def gradient(case: Case, algorithm: str = "auto") -> Call:
    from tileconv import grad

    layer, x, weight, grads = case.layer, case.x, case.weight, case.grad_output
    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
    size, mode = layer.input_shape if case.pass_ == "input" else layer.weight_shape, layer.padding_mode
    if case.pass_ == "input":
        return lambda: grad.conv2d_input(size, weight, grads, *geometry, padding_mode=mode, algorithm=algorithm)
    return lambda: grad.conv2d_weight(x, size, grads, *geometry, padding_mode=mode, algorithm=algorithm)


def core_geometry(layer: Layer) -> tuple[Pair, tuple[int, int, int, int], Pair, int, str]:
    """The arguments of the compiled core from stride to padding_mode."""
    pads = (layer.pad_h, layer.pad_h, layer.pad_w, layer.pad_w)
    return layer.stride, pads, layer.dilation, layer.groups, layer.padding_mode


def planned(case: Case, algorithm: str = "auto") -> str:
    """The algorithm that runs the case, frozen where that is possible; ValueError if it is named and cannot."""
    from tileconv import _core

    layer, frozen, has_bias = case.layer.convolution, case.pass_ == "forward", True
    # A transposed layer is the input gradient of its convolution.
    pass_ = {"forward": "forward", "weight": "weight_gradient"}.get(case.pass_, "input_gradient")
    problem = (layer.input_shape, layer.weight_shape, has_bias, *core_geometry(layer))
    found = _core.explain(*problem, case.dtype, algorithm, frozen, pass_)
    return str(found["algorithm"])


def algorithms() -> list[Contestant]:
    from tileconv import _core

    return [Algorithm(name) for name in _core.algorithms()]


OURS: dict[str, type[Contestant]] = {contestant.name: contestant for contestant in (Tileconv, Unfrozen)}
