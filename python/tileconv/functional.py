"""`conv2d` and `explain`: thin doors to the compiled core that settle only the form of what the user wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._forms import as_array, flag, geometry, integer, padding4, pair, real_dtype, shape, text, writable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import SupportsIndex

    from numpy.typing import DTypeLike

    from ._core import Array
    from ._forms import ArrayLike, Padding, Size


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: str = "zeros",
    out: Array | None = None,
    algorithm: str = "auto",
) -> Array:
    r"""2-D convolution (cross-correlation, as in deep learning) of images with learned or given kernels.

    For image ``n`` and output channel ``o`` of group ``g``, with ``c`` running over the input channels of that group::

        out[n, o, y, x] = bias[o] + sum over c, i, j of
            weight[o, c, i, j] * padded[n, c, y * stride_h + i * dilation_h, x * stride_w + j * dilation_w]

    Parameters
    ----------
    input : array_like, shape (N, C_in, H, W) or (C_in, H, W)
        Images, float32 or float64, of any memory layout: views, transposes of NHWC images, reversed or broadcast axes
        are read in place. Anything that exports a buffer, ``__array__`` or DLPack (a PyTorch tensor, say) is viewed,
        not copied.
    weight : array_like, shape (C_out, C_in / groups, kH, kW)
        Kernels, of the dtype of `input`.
    bias : array_like, shape (C_out,), optional
        Added to each output channel.
    stride : int or (int, int), default 1
        Step between output pixels, vertical and horizontal.
    padding : int, (int, int), ((int, int), (int, int)) or str, default 0
        Elements added around each image: the same on all sides, (vertical, horizontal) or
        ((top, bottom), (left, right)). Or a name: 'valid' adds none; 'same' keeps the image's size (stride 1 only; an
        odd element goes to the bottom and right, as in PyTorch); 'same_upper' and 'same_lower' give
        ``ceil(size / stride)`` for any stride, an odd element after or before the image (SAME of TensorFlow and ONNX).
    dilation : int or (int, int), default 1
        Distance between neighbouring kernel elements.
    groups : int, default 1
        Number of independent groups of channels; ``groups=C_in`` is a depthwise convolution.
    padding_mode : {'zeros', 'reflect', 'replicate', 'circular', 'symmetric'}, default 'zeros'
        What the added elements hold: zeros; the image mirrored about its edge pixel (padding < size); the edge pixel;
        the opposite side (padding <= size); the image mirrored with its edge pixel repeated, as in ``numpy.pad``.
    out : ndarray, optional
        Array of the output's shape and dtype, of any strides, that receives the result and is returned. It must not
        share memory with an input.
    algorithm : str, default 'auto'
        Name of the algorithm to use, as listed by `show_config`; 'auto' takes the fastest that keeps the promised
        accuracy. `explain` tells which.

    Returns
    -------
    ndarray, shape (N, C_out, H_out, W_out) or (C_out, H_out, W_out)
        C-contiguous and of the dtype of `input`, or `out`. Large results begin at a cache line, as views of memory that
        is a page longer. The height is, and the width likewise::

            H_out = floor((H + pad_top + pad_bottom - dilation_h * (kH - 1) - 1) / stride_h + 1)

    Raises
    ------
    TypeError
        An argument of the wrong kind or dtype. Integers are not converted silently: use ``x.astype(numpy.float32)``.
    ValueError
        Shapes that do not fit together, values out of range, names that do not exist, an algorithm that does not
        support the problem, an `out` that overlaps an input. The message names the argument, what came and what was
        expected.
    MemoryError
        The output or the workspace cannot be allocated.

    See Also
    --------
    Conv2d : The same as a layer that keeps its weights, and packs them once with ``freeze()``.
    explain : Which algorithm a call takes, and why.
    grad : Gradients with respect to input, weight and bias.

    Notes
    -----
    Semantics and the formula of the output's size are those of ``torch.nn.Conv2d`` [1]_. The result of an image has
    the same bits for any number of threads, any batch size or position in the batch and any memory layout. NaN and
    infinity reach exactly the outputs whose kernel covers them. N = 0 gives an empty result.

    References
    ----------
    .. [1] PyTorch documentation, https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html

    Examples
    --------
    Horizontal differences of a 3 x 4 image:

    >>> import numpy as np
    >>> import tileconv as tc
    >>> image = np.array([[[0, 1, 4, 9], [0, 2, 4, 6], [5, 5, 5, 5]]], np.float32)
    >>> difference = np.array([[[[-1, 1]]]], np.float32)
    >>> tc.conv2d(image, difference)
    array([[[1., 3., 5.],
            [2., 2., 2.],
            [0., 0., 0.]]], dtype=float32)

    The same size as the input, every second pixel, one kernel for each of 8 channels:

    >>> batch = np.ones((2, 8, 32, 32), np.float32)
    >>> tc.conv2d(batch, np.ones((8, 1, 3, 3), np.float32), padding="same", groups=8).shape
    (2, 8, 32, 32)
    >>> tc.conv2d(batch, np.ones((8, 1, 3, 3), np.float32), stride=2, padding=1, groups=8).shape
    (2, 8, 16, 16)

    Errors say what was expected:

    >>> tc.conv2d(batch, np.ones((8, 8, 3, 3), np.float32), stride=1.5)
    Traceback (most recent call last):
        ...
    TypeError: stride must be an int or a pair of ints, got 1.5 (float)
    """
    # The usual forms are told inline: calls of helpers would double what this function adds to a call of the core.
    return _core.conv2d(
        input if type(input) is np.ndarray and input.dtype.isnative else as_array(input, "input"),
        weight if type(weight) is np.ndarray and weight.dtype.isnative else as_array(weight, "weight"),
        bias if bias is None else as_array(bias, "bias"),
        (stride, stride) if type(stride) is int and 0 <= stride < 1_000_000 else pair(stride, "stride"),
        (padding,) * 4 if type(padding) is int and 0 <= padding < 1_000_000 else padding4(padding),
        (dilation, dilation) if type(dilation) is int and 0 <= dilation < 1_000_000 else pair(dilation, "dilation"),
        groups if type(groups) is int and 0 <= groups < 1_000_000 else integer(groups, "groups"),
        padding_mode if type(padding_mode) is str and padding_mode.isascii() else text(padding_mode, "padding_mode"),
        out if out is None else writable(out, "out"),
        algorithm if type(algorithm) is str and algorithm.isascii() else text(algorithm, "algorithm"),
    )


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; ``print`` shows it as a short report.

    Attributes
    ----------
    pass_ : str
        The pass: 'forward', 'input_gradient' or 'weight_gradient'.
    problem : str
        The problem in one line, as that of the forward pass whatever the pass. A large stride or dilation that has no
        effect is cut down.
    output_shape : tuple of int
        Shape of what the pass computes: the output of `conv2d`, or a gradient.
    algorithm, kernel, isa : str
        The algorithm taken, its micro-kernel and the instruction set of that kernel.
    threads : int
        Threads the call uses.
    blocking : dict of str to int
        Sizes of the tiles the work is cut into.
    workspace_bytes, packed_bytes : int
        Scratch memory of a call, and memory of the packed weights.
    accuracy : str
        What the algorithm promises of its rounding error.
    rejected : dict of str to str
        For each other algorithm, why it was not taken.
    """

    pass_: str
    problem: str
    output_shape: tuple[int, ...]
    algorithm: str
    kernel: str
    isa: str
    threads: int
    blocking: dict[str, int]
    workspace_bytes: int
    packed_bytes: int
    accuracy: str
    rejected: dict[str, str]

    def __str__(self) -> str:
        rows = {
            "problem": f"{self.pass_}  {self.problem}",
            "output": str(self.output_shape),
            "algorithm": self.algorithm,
            "kernel": f"{self.kernel}  ({self.isa}, {self.threads} thread{'s'[: self.threads != 1]})",
            "blocking": "  ".join(f"{name} {size}" for name, size in self.blocking.items()),
            "workspace": f"{readable_bytes(self.workspace_bytes)}, packed weights {readable_bytes(self.packed_bytes)}",
            "accuracy": self.accuracy,
            "not taken": self.rejected,
        }
        return "\n".join(table(rows))


def readable_bytes(count: int) -> str:
    """`count` in the largest binary unit that leaves at least 1: '1.5 KiB'."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if size == int(size) else f"{size:.1f} {unit}"


def table(rows: Mapping[str, object]) -> Iterator[str]:
    """Lines 'name  value' with the values in one column; a mapping becomes one line per item under one name."""
    width = max(map(len, rows)) + 2
    for name, value in rows.items():
        lines = [f"{key}: {item}" for key, item in value.items()] if isinstance(value, dict) else [str(value)]
        yield f"{name:{width}}{lines[0] if lines else 'none'}"
        yield from (f"{'':{width}}{line}" for line in lines[1:])


def explain(
    input_shape: tuple[SupportsIndex, ...],
    weight_shape: tuple[SupportsIndex, ...],
    bias: bool = False,
    stride: Size = 1,
    padding: Padding = 0,
    dilation: Size = 1,
    groups: SupportsIndex = 1,
    *,
    padding_mode: str = "zeros",
    pass_: str = "forward",
    dtype: DTypeLike = np.float32,
    algorithm: str = "auto",
    frozen: bool = False,
) -> Explanation:
    """Tell how `conv2d` or a gradient would be computed: with which algorithm, kernel, blocking, and why no other.

    Nothing is computed or allocated: the plan depends on shapes alone.

    Parameters
    ----------
    input_shape : tuple of int
        (N, C_in, H, W) or (C_in, H, W).
    weight_shape : tuple of int
        (C_out, C_in / groups, kH, kW).
    bias : bool, default False
        Whether there is a bias.
    stride, padding, dilation, groups, padding_mode, algorithm
        As for `conv2d`.
    pass_ : {'forward', 'input_gradient', 'weight_gradient'}, default 'forward'
        What is computed: `conv2d`, `grad.conv2d_input` or `grad.conv2d_weight`, all described by the shapes of the
        forward pass. `conv_transpose2d` is the input gradient of the convolution from its output to its input.
    dtype : dtype_like, default float32
        float32 or float64.
    frozen : bool, default False
        Whether the weights are packed beforehand, as `Conv2d.freeze` does for the forward pass.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        As `conv2d` would for such arrays.

    Examples
    --------
    >>> import tileconv as tc
    >>> plan = tc.explain((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    >>> plan.output_shape
    (1, 64, 56, 56)
    >>> tc.explain((1, 64, 56, 56), (64, 64, 3, 3), algorithm="reference").algorithm
    'reference'
    >>> tc.explain((1, 64, 56, 56), (128, 64, 3, 3), stride=2, padding=1, pass_="weight_gradient").output_shape
    (128, 64, 3, 3)

    ``print(plan)`` shows the report.
    """
    found: dict[str, Any] = _core.explain(
        shape(input_shape, "input_shape"),
        shape(weight_shape, "weight_shape"),
        flag(bias, "bias"),
        *geometry(stride, padding, dilation, groups, padding_mode),
        real_dtype(dtype),
        text(algorithm, "algorithm"),
        flag(frozen, "frozen"),
        text(pass_, "pass_"),
    )
    return Explanation(pass_=found.pop("pass"), **found)
