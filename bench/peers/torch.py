"""PyTorch, eager, as a user's model runs it."""

from typing import ClassVar

from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array, Layer


class Torch(Contestant):
    name = "torch"
    modules = ("torch",)
    dtypes = ("float32", "float64")
    channels_last: ClassVar[bool] = False

    def __init__(self) -> None:
        import torch

        # Entered once and never left: a guard around each call would cost a microsecond of it.
        self.guard = torch.inference_mode()
        self.guard.__enter__()

    def prepare(self, layer: Layer, x: Array, weight: Array, bias: Array, threads: int) -> dict[str, Call]:
        import torch
        from torch.nn import functional

        mode = layer.padding_mode
        if mode == "symmetric":
            raise Unsupported("no padding mode 'symmetric'")
        torch.set_num_threads(threads)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        xt, wt = (torch.from_numpy(array).to(memory_format=layout) for array in (x, weight))
        bt = torch.from_numpy(bias)
        stride, padding, dilation, groups = layer.stride, layer.padding, layer.dilation, layer.groups
        if mode == "zeros":
            return {"": lambda: functional.conv2d(xt, wt, bt, stride, padding, dilation, groups)}
        # As torch.nn.Conv2d does it.
        pads = (layer.pad_w, layer.pad_w, layer.pad_h, layer.pad_h)
        return {"": lambda: functional.conv2d(functional.pad(xt, pads, mode), wt, bt, stride, 0, dilation, groups)}


class TorchChannelsLast(Torch):
    """Input and weight are converted beforehand and the output stays so, as in a net that is all channels_last."""

    name = "torch_channels_last"
    channels_last = True
