"""Fast 2-D convolution on the CPU over plain NumPy arrays, with the semantics of ``torch.nn.Conv2d``.

>>> import numpy as np
>>> import tileconv as tc
>>> image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
>>> tc.conv2d(image, np.ones((1, 1, 3, 3), np.float32), stride=2, padding=1)
array([[[10., 24.],
        [51., 90.]]], dtype=float32)

`conv2d` computes and `Conv2d` is the layer, `conv_transpose2d` and `ConvTranspose2d` go the other way, `grad` has the
gradients. `explain` tells what a call would do; ``python -m tileconv demo`` shows them.
"""

from . import _core, grad
from .functional import Explanation, conv2d, explain
from .grad import Conv2dGrads
from .module import Conv2d
from .threads import get_num_threads, num_threads, set_num_threads, show_config
from .transposed import ConvTranspose2d, conv_transpose2d

__version__: str = _core.config()["version"]
__all__ = [
    "Conv2d",
    "Conv2dGrads",
    "ConvTranspose2d",
    "Explanation",
    "conv2d",
    "conv_transpose2d",
    "explain",
    "get_num_threads",
    "grad",
    "num_threads",
    "set_num_threads",
    "show_config",
]
