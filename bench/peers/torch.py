"""PyTorch, eager, as a user's model runs it."""

from typing import Any, ClassVar

from bench.case import Case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array
from bench.passes import PASSES


class Torch(Contestant):
    name = "torch"
    modules = ("torch",)
    dtypes = ("float32", "float64")
    passes = PASSES
    channels_last: ClassVar[bool] = False

    def __init__(self) -> None:
        import torch

        # Entered once and never left: a guard around each call would cost a microsecond of it.
        self.guard = torch.inference_mode()
        self.guard.__enter__()

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        import torch

        torch.set_num_threads(threads)
        prepare = {"forward": self.forward, "transposed": self.transposed}.get(case.pass_, self.gradient)
        return {"": prepare(case)}

    def tensor(self, array: Array) -> Any:
        import torch

        layout = torch.channels_last if self.channels_last and array.ndim == 4 else torch.contiguous_format
        return torch.from_numpy(array).to(memory_format=layout)

    def forward(self, case: Case) -> Call:
        from torch.nn import functional

        layer, mode = case.layer, case.layer.padding_mode
        if mode == "symmetric":
            raise Unsupported("no padding mode 'symmetric'")
        x, weight, bias = map(self.tensor, (case.x, case.weight, case.bias))
        stride, padding, dilation, groups = layer.stride, layer.padding, layer.dilation, layer.groups
        if mode == "zeros":
            return lambda: functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
        # As torch.nn.Conv2d does it.
        pads = (layer.pad_w, layer.pad_w, layer.pad_h, layer.pad_h)
        return lambda: functional.conv2d(functional.pad(x, pads, mode), weight, bias, stride, 0, dilation, groups)

    def transposed(self, case: Case) -> Call:
        from torch.nn import functional

        layer = case.layer
        x, weight, bias = map(self.tensor, (case.x, case.weight, case.bias))
        geometry = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
        return lambda: functional.conv_transpose2d(x, weight, bias, *geometry)

    def gradient(self, case: Case) -> Call:
        """What autograd calls, asked for one gradient only."""
        import torch

        layer = case.layer
        wanted = [case.pass_ == "input", case.pass_ == "weight", False]
        tensors = [*map(self.tensor, (case.grad_output, case.x, case.weight))]
        bias_sizes, transposed, output_padding = None, False, (0, 0)
        geometry = layer.stride, layer.padding, layer.dilation, transposed, output_padding, layer.groups
        backward, which = torch.ops.aten.convolution_backward.default, wanted.index(True)
        return lambda: backward(*tensors, bias_sizes, *geometry, wanted)[which]


class TorchChannelsLast(Torch):
    """Images and weight are converted beforehand and the result stays so, as in a net that is all channels_last."""

    name = "torch_channels_last"
    channels_last = True
