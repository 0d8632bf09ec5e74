"""OpenCV's filter2D, which turns to a DFT by itself where the kernel is large."""

from typing import Any

import numpy as np

from bench.case import Case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array


class OpenCV(Contestant):
    name = "opencv"
    modules = ("cv2",)
    dtypes = ("float32", "float64")

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        import cv2

        borders = {
            "zeros": cv2.BORDER_CONSTANT,
            "reflect": cv2.BORDER_REFLECT_101,
            "replicate": cv2.BORDER_REPLICATE,
            "symmetric": cv2.BORDER_REFLECT,
        }
        layer, x = case.layer, case.x
        if not layer.is_plane_filter:
            raise Unsupported("one plane to one of the same size only")
        if layer.padding_mode not in borders:
            raise Unsupported(f"filter2D has no border for {layer.padding_mode!r}")
        cv2.setNumThreads(threads)
        plane, kernel, out = x[0, 0], case.weight[0, 0], np.empty_like(x[0, 0])
        anchor, delta, border = (layer.pad_w, layer.pad_h), float(case.bias[0]), borders[layer.padding_mode]
        return {"": lambda: cv2.filter2D(plane, -1, kernel, out, anchor, delta, border)}

    def to_numpy(self, result: Any) -> Array:
        return np.asarray(result)[None, None]
