"""ncnn: a net of one layer, built in memory from its two file formats."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.case import Case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array, Layer


class Ncnn(Contestant):
    name = "ncnn"
    modules = ("ncnn",)
    winograd = True

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        layer, x, weight, bias = case.layer, case.x, case.weight, case.bias
        if layer.padding_mode != "zeros":
            raise Unsupported("zero padding only")
        ways = {"": {}, "no Winograd": {"use_winograd_convolution": False}, "no packing": {"use_packing_layout": False}}
        half = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage")
        options = {"num_threads": threads} | {f"use_{kind}": False for kind in half}
        return {label: self.call(layer, x, weight, bias, options | way) for label, way in ways.items()}

    def call(self, layer: Layer, x: Array, weight: Array, bias: Array, options: dict[str, Any]) -> Call:
        import ncnn

        net = ncnn.Net()
        for name, value in options.items():
            setattr(net.opt, name, value)
        net.load_param_mem(self.param(layer))
        with tempfile.TemporaryDirectory() as folder:
            # A zero word before the weights says that they are raw float32.
            weights = Path(folder, "weights.bin")
            weights.write_bytes(bytes(4) + weight.tobytes() + bias.tobytes())
            net.load_model(str(weights))
        # One image a run, as the library works. The clone lays planes out as ncnn does, each at an aligned address.
        images = [ncnn.Mat(image).clone() for image in x]

        def call() -> list[Any]:
            results = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("x", image)
                results.append(extractor.extract("y")[1])
            return results

        return call

    @staticmethod
    def param(layer: Layer) -> str:
        """The net as text; a layer's parameters go by number."""
        values = {0: layer.out_channels, 5: 1, 6: int(np.prod(layer.weight_shape)), 7: layer.groups}
        values |= {1: layer.kernel_w, 2: layer.dilation_w, 3: layer.stride_w, 4: layer.pad_w}
        values |= {11: layer.kernel_h, 12: layer.dilation_h, 13: layer.stride_h, 14: layer.pad_h}
        kind = "ConvolutionDepthWise" if layer.groups > 1 else "Convolution"
        text = " ".join(f"{key}={value}" for key, value in values.items())
        return f"7767517\n2 2\nInput in 0 1 x\n{kind} conv 1 1 x y {text}\n"

    def to_numpy(self, result: Any) -> Array:
        return np.stack([np.array(image) for image in result])
