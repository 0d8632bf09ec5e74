"""ONNX Runtime: a graph of one Conv node, with a Pad node before it where the padding is not zeros."""

from typing import Any, ClassVar

import numpy as np

from bench.case import Case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array, Layer


class OnnxRuntime(Contestant):
    name = "onnxruntime"
    modules = ("onnxruntime", "onnx")
    pad_modes: ClassVar[dict[str, str]] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        from onnxruntime import ExecutionMode, GraphOptimizationLevel, InferenceSession, SessionOptions

        layer, x = case.layer, case.x
        model = self.model(layer, case.weight, case.bias)
        # Level "all" rewrites the node to a blocked NCHWc layout with reorders around it, which does not always pay.
        levels = {
            "NCHWc": GraphOptimizationLevel.ORT_ENABLE_ALL,
            "NCHW": GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        }
        ways: dict[str, Call] = {}
        for label, level in levels.items():
            options = SessionOptions()
            options.intra_op_num_threads = threads
            options.execution_mode = ExecutionMode.ORT_SEQUENTIAL
            options.graph_optimization_level = level
            options.add_session_config_entry("session.intra_op.allow_spinning", "1")
            session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
            ways[f"{label}, run"] = self.plain(session, x)
            ways[f"{label}, io_binding"] = self.bound(session, layer, x)
        return ways

    @staticmethod
    def plain(session: Any, x: Array) -> Call:
        return lambda: session.run(["y"], {"x": x})[0]

    @staticmethod
    def bound(session: Any, layer: Layer, x: Array) -> Call:
        """Input and output memory named once, so that a call neither converts nor allocates."""
        from onnxruntime import OrtValue

        y = OrtValue.ortvalue_from_shape_and_type(layer.output_shape, x.dtype, "cpu")
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", y)

        def call() -> Any:
            session.run_with_iobinding(binding)
            return y

        return call

    def model(self, layer: Layer, weight: Array, bias: Array) -> bytes:
        from onnx import TensorProto, helper, numpy_helper

        pads, constants, nodes = [*layer.padding] * 2, {"w": weight, "b": bias}, []
        if layer.padding_mode != "zeros":
            if layer.padding_mode not in self.pad_modes:
                raise Unsupported(f"Pad has no mode for {layer.padding_mode!r}")
            constants["pads"] = np.array([0, 0, *layer.padding] * 2, np.int64)
            nodes.append(helper.make_node("Pad", ["x", "pads"], ["p"], mode=self.pad_modes[layer.padding_mode]))
            pads = [0] * 4
        attributes: dict[str, Any] = {
            "strides": layer.stride,
            "dilations": layer.dilation,
            "pads": pads,
            "group": layer.groups,
        }
        nodes.append(helper.make_node("Conv", ["p" if nodes else "x", "w", "b"], ["y"], **attributes))
        graph = helper.make_graph(
            nodes,
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.input_shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, layer.output_shape)],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        # Opset 19 is the first whose Pad wraps around.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        return bytes(model.SerializeToString())

    def to_numpy(self, result: Any) -> Array:
        return np.asarray(result if isinstance(result, np.ndarray) else result.numpy())
