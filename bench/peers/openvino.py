"""OpenVINO on the CPU: a model of one convolution and its bias, with one infer request kept over the calls."""

from typing import Any, ClassVar

import numpy as np

from bench.case import Case
from bench.contestant import Call, Contestant
from bench.layers import Array, Layer


class OpenVino(Contestant):
    name = "openvino"
    modules = ("openvino",)
    channels_last: ClassVar[bool] = False
    pad_modes: ClassVar[dict[str, str]] = {"reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        import openvino as ov
        import openvino.properties as props
        from openvino.properties import hint

        settings = {
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            # Left to itself it computes in bfloat16 where the CPU can.
            hint.inference_precision: ov.Type.f32,
            props.inference_num_threads: threads,
            # The process is pinned already.
            hint.enable_cpu_pinning: False,
        }
        x, model = case.x, self.model(case.layer, case.weight, case.bias)
        if self.channels_last:
            model, x = self.channels_last_model(model), x.transpose(0, 2, 3, 1)
        request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
        request.get_input_tensor().data[...] = x
        y = request.get_output_tensor()

        def infer() -> Any:
            request.infer(share_outputs=True)
            return y

        def start_and_wait() -> Any:
            request.start_async()
            request.wait()
            return y

        return {"infer": infer, "start_async": start_and_wait}

    def model(self, layer: Layer, weight: Array, bias: Array) -> Any:
        import openvino as ov
        from openvino import opset15 as ops

        source = node = ops.parameter(list(layer.input_shape), ov.Type.f32)
        pads = list(layer.padding)
        if layer.padding_mode != "zeros":
            node, pads = self.pad(layer, source), [0, 0]
        geometry = (list(layer.stride), pads, pads, list(layer.dilation))
        if layer.groups == 1:
            node = ops.convolution(node, ops.constant(weight), *geometry)
        else:
            by_group = weight.reshape(layer.groups, -1, *layer.weight_shape[1:])
            node = ops.group_convolution(node, ops.constant(by_group), *geometry)
        return ov.Model([ops.add(node, ops.constant(bias.reshape(1, -1, 1, 1)))], [source], "layer")

    def pad(self, layer: Layer, node: Any) -> Any:
        from openvino import opset15 as ops

        if layer.padding_mode in self.pad_modes:
            pads = ops.constant(np.array([0, 0, *layer.padding]))
            return ops.pad(node, pads, pads, self.pad_modes[layer.padding_mode])
        # Pad does not wrap around: each edge is sliced off and joined to the other side, one axis after the other.
        for axis, (size, pad) in enumerate(zip(layer.input_shape[2:], layer.padding, strict=True), 2):
            if pad:
                first, last = (ops.slice(node, [start], [start + pad], [1], [axis]) for start in (0, size - pad))
                node = ops.concat([last, node, first], axis)
        return node

    @staticmethod
    def channels_last_model(model: Any) -> Any:
        from openvino import Layout
        from openvino.preprocess import PrePostProcessor

        steps = PrePostProcessor(model)
        for end in (steps.input(), steps.output()):
            end.tensor().set_layout(Layout("NHWC"))
            end.model().set_layout(Layout("NCHW"))
        return steps.build()

    def to_numpy(self, result: Any) -> Array:
        y = np.asarray(result.data)
        return y.transpose(0, 3, 1, 2) if self.channels_last else y


class OpenVinoChannelsLast(OpenVino):
    """Input and output are NHWC, which spares the reorders that it wraps around an NCHW layer."""

    name = "openvino_channels_last"
    channels_last = True
