"""SciPy's filters of one plane: the direct sums of ndimage and signal, and FFT convolution."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from bench.case import Case
from bench.contestant import Call, Contestant, Unsupported
from bench.layers import Array


class SciPy(Contestant):
    name = "scipy"
    modules = ("scipy",)
    dtypes = ("float32", "float64")
    ndimage_modes: ClassVar[dict[str, str]] = {
        "zeros": "constant",
        "reflect": "mirror",
        "replicate": "nearest",
        "circular": "wrap",
        "symmetric": "reflect",
    }

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        from scipy import fft, ndimage, signal

        layer, x, weight, bias = case.layer, case.x, case.weight, case.bias
        if not layer.is_plane_filter or layer.kernel_h % 2 == 0 or layer.kernel_w % 2 == 0:
            raise Unsupported("one plane to one of the same size and odd kernels only")
        plane, kernel = x[0, 0], weight[0, 0]
        flipped, mode = np.ascontiguousarray(kernel[::-1, ::-1]), self.ndimage_modes[layer.padding_mode]

        def biased(y: Array) -> Array:
            y += bias[0]
            return y

        def by_fft(convolve: Callable[..., Array]) -> Array:
            with fft.set_workers(threads):
                return biased(convolve(plane, flipped, "same"))

        ways: dict[str, Call] = {"ndimage.correlate": lambda: biased(ndimage.correlate(plane, kernel, mode=mode))}
        if layer.padding_mode == "zeros":
            ways["signal.correlate2d"] = lambda: biased(signal.correlate2d(plane, kernel, "same"))
            ways["signal.fftconvolve"] = lambda: by_fft(signal.fftconvolve)
            ways["signal.oaconvolve"] = lambda: by_fft(signal.oaconvolve)
        return ways

    def to_numpy(self, result: Any) -> Array:
        return np.asarray(result)[None, None]
