"""What every result promises: the same bits however it is asked for, NaN and Inf where they belong, the edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import BY_NAME, CASES, DTYPES, MODES, Array, Case
from checks import ALGORITHMS, assert_accurate, assert_exact, assert_same_bits, forced_isa, plan, runs, supporting
from layouts import LAYOUTS, OUT_LAYOUTS, arrange, room

dtypes = pytest.mark.parametrize("dtype", DTYPES)

# Large enough to be split among threads: by pixels, by channels, by groups.
SPLIT = [
    "ic16 ih40 oc40 kh3 p1 bias",
    "ic3 ih64 oc32 kh7 s2 p3",
    "ic256 ih14 oc96 kh1",
    "ic128 ih7 oc128 kh3 p1 bias",
    "ic160 ih56 oc160 kh3 p1 g160",
    "ic64 ih28 oc64 kh3 p1 g4",
    "ic96 ih20 oc192 kh3 p1 bias",
    "ic24 ih21 oc48 kh3 d6 p6",
    "ic1 ih256 iw260 oc1 kh7 p3 reflect",
    "ic16 ih62 iw63 oc40 kh4 kw5 sh2 sw3 pt1 pb2 pl3 pr0 circular bias",
    "ic32 ih1 iw900 oc24 kh1 kw5 same replicate",
    "ic192 ih1 oc70 kh1 g2 bias",
]
SMALL = ["resnet.3x3", "depthwise.3x3", "grouped.1x1", "resnet.1x1.s2", "dilated.6", "pad.symmetric.s2d2", "resnet.7x7"]


def askings(case: Case, x: Array) -> Iterator[tuple[str, Array, int]]:
    """(description, input, index of the image in it): the image `x` in every company and layout."""
    others = case.normals(seed=1)[0], case.normals(seed=2)[0]
    for batch, index in (((x,), 0), ((x, *others), 0), ((*others, x), 2), ((others[0], x, *others, *others), 1)):
        yield f"image {index} of {len(batch)}", np.concatenate(batch), index
    for layout in LAYOUTS:
        if layout != "broadcast":
            yield f"{layout} input", arrange(np.concatenate([others[0], x]), layout), 1


def assert_same_bits_however_asked(case: Case, algorithms: Sequence[str]) -> None:
    x, w, b = case.normals()
    first: dict[str, Array] = {}
    for label, found, run in runs(case, w, b, algorithms):
        tc.set_num_threads(1)
        expected = first.setdefault(found.algorithm, run(x))
        for threads in (1, 2, 3):
            tc.set_num_threads(threads)
            assert_same_bits(run(x), expected, f"{label}, {threads} threads")
        for asking, batch, index in askings(case, x):
            assert_same_bits(run(batch)[index : index + 1], expected, f"{label}, {asking}")
        for layout in OUT_LAYOUTS:
            out = room(expected.shape, x.dtype, layout)[1]
            assert_same_bits(run(x, out), expected, f"{label}, {layout} out")
        assert_same_bits(run(x[0]), expected[0], f"{label}, unbatched")


@dtypes
@pytest.mark.parametrize("descriptor", SPLIT)
def test_same_bits_however_asked(descriptor: str, dtype: str, isa: str) -> None:
    assert_same_bits_however_asked(replace(Case.parse(descriptor), dtype=dtype), ["auto"])


@dtypes
@pytest.mark.parametrize("name", SMALL)
def test_same_bits_of_every_algorithm(name: str, dtype: str, isa: str) -> None:
    assert_same_bits_however_asked(replace(BY_NAME[name], dtype=dtype, batch=1), ALGORITHMS)


@dtypes
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_same_bits_of_strided_planes(kernel: int, dtype: str, isa: str) -> None:
    """In place rows of stride 2 have kernels of their own; staged ones take the kernel for any stride."""
    case = replace(Case.parse(f"ic5 ih23 iw37 oc5 kh{kernel} s2 p{kernel // 2} g5"), dtype=dtype)
    assert_same_bits_however_asked(case, ["depthwise"])


@dtypes
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 2)])
def test_same_bits_of_planes_from_memory(kernel: int, stride: int, mode: str, dtype: str, isa: str) -> None:
    """One image has room in the caches, all of them have not: that may take other kernels."""
    case = replace(Case.parse(f"b8 ic5 ih290 iw301 oc5 kh{kernel} s{stride} p{kernel // 2} g5 {mode}"), dtype=dtype)
    x, w, b = case.normals()
    assert x[0].nbytes < 4 << 20 < 12 << 20 < x.nbytes
    kernels = {plan(replace(case, batch=n), "depthwise").kernel for n in (1, 8)}
    row_by_row = isa == "avx512" and (kernel, stride) in ((3, 1), (3, 2), (5, 2)) and (mode == "zeros" or stride == 1)
    assert len(kernels) == 1 + row_by_row
    together = tc.conv2d(x, w, b, algorithm="depthwise", **case.options)
    alone = [tc.conv2d(image, w, b, algorithm="depthwise", **case.options) for image in x]
    assert_same_bits(together, np.stack(alone), case.name)


@dtypes
def test_same_bits_from_broadcast_channels(dtype: str, isa: str) -> None:
    case = replace(Case.parse(SPLIT[0]), dtype=dtype)
    x, w, b = case.normals()
    view = arrange(x, "broadcast")
    for label, _, run in runs(case, w, b):
        assert_same_bits(run(view), run(view.copy()), label)


@dtypes
def test_same_bits_from_any_weight_layout(dtype: str, isa: str) -> None:
    for case in (replace(Case.parse(descriptor), dtype=dtype) for descriptor in SPLIT):
        x, w, b = case.normals()
        expected = [run(x) for _, _, run in runs(case, w, b, ["auto"])]
        for layout in ("reversed", "nhwc", "unaligned", "readonly"):
            views = arrange(w, layout), None if b is None else arrange(b, layout)
            for (label, _, run), y in zip(runs(case, *views, ["auto"]), expected):
                assert_same_bits(run(x), y, f"{label}, {layout} weight")


def test_threads_are_really_used() -> None:
    """Otherwise the tests above compare one thread with itself."""
    tc.set_num_threads(3)
    found = [plan(Case.parse(descriptor)) for descriptor in SPLIT]
    assert sum(one.threads > 1 for one in found) >= len(SPLIT) // 2


NON_FINITE = [
    "resnet.3x3",
    "resnet.stem",
    "resnet.1x1",
    "depthwise.x2",
    "depthwise.3x3.s2",
    "pointwise.padded",
    "grouped.odd",
    "patch.4",
    "dilated.whole_taps",
    "dilated.one_tap",
    "dilated.rows",
    "dilated.stride",
    "dense.1x7",
    "asymmetric.all",
    "stride.padded",
    "cover.padded",
    "image.psf31",
    "edge.w33",
    "empty.height",
    *[f"pad.{mode}.{kind}" for mode in MODES for kind in ("sides", "s2d2", "same")],
]
SPECIAL = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


def places(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Both far corners and the middle of an array."""
    if 0 in shape:
        return []
    return sorted({(0,) * len(shape), tuple(n - 1 for n in shape), tuple(n // 2 for n in shape)})


def assert_flow(case: Case, x: Array, w: Array, b: Array | None, what: str) -> None:
    expected = reference.conv2d(x, w, b, **case.options)
    for label, _, run in runs(case, w, b):
        assert_accurate(run(x), expected, f"{label}\n{what}")


@pytest.mark.filterwarnings("ignore:invalid value")
@dtypes
@pytest.mark.parametrize("name", NON_FINITE)
def test_non_finite_values_reach_their_outputs_only(name: str, dtype: str, isa: str) -> None:
    """Integers hold zeros, so that 0 * Inf and 0 * NaN occur; one operand at a time holds the special value."""
    case = replace(BY_NAME[name], dtype=dtype)
    clean = case.integers()
    for kind, value in SPECIAL.items():
        for operand in (0, 1):
            for place in places(clean[operand].shape):
                arrays = [None if array is None else array.copy() for array in clean]
                arrays[operand][place] = value  # type: ignore[index]
                assert_flow(case, *arrays, f"{kind} at {list(place)} of {('input', 'weight')[operand]}")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("name", NON_FINITE)
def test_non_finite_values_meet(name: str, isa: str) -> None:
    """Inf - Inf, 0 * Inf, NaN beside Inf: several special values in all operands at once."""
    case = BY_NAME[name]
    rng = np.random.default_rng(7)
    x, w, _ = case.integers()
    b = np.zeros(case.out_channels, x.dtype)
    for array, count in ((x, 3), (w, 2), (b, 1)):
        if array.size:
            array.flat[rng.integers(0, array.size, count)] = rng.choice(list(SPECIAL.values()), count)
    assert_flow(replace(case, bias=True), x, w, b, "special values in all operands")


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("special", SPECIAL.values(), ids=SPECIAL)
def test_zeros_of_the_padding_multiply_too(special: float, isa: str) -> None:
    """A tap that only ever reads padding still turns 0 * NaN and 0 * Inf into NaN, in every output."""
    case = BY_NAME["dilated.whole_taps"]
    x, w, b = case.integers()
    w[3, :, 0, 0] = special
    for label, _, run in runs(case, w, b):
        y = run(x)
        assert np.isnan(y[:, 3]).all(), label
        assert np.isfinite(np.delete(y, 3, axis=1)).all(), label


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (0, 3, 0, 8)])
def test_empty_batch(shape: tuple[int, ...]) -> None:
    y = tc.conv2d(np.zeros(shape, np.float32), np.zeros((5, 3, 3, 3), np.float32), padding=(2, 1), stride=2)
    assert y.shape == (0, 5, (shape[2] + 3) // 2, 4)
    assert y.dtype == np.float32
    layer = tc.Conv2d(3, 5, 3, padding=(2, 1), stride=2).freeze()
    assert layer(np.zeros(shape, np.float32)).shape == y.shape


def test_image_of_padding_alone() -> None:
    b = np.arange(4, dtype=np.float64)
    y = tc.conv2d(np.zeros((2, 3, 0, 5)), np.ones((4, 3, 3, 3)), b, padding=2)
    assert_exact(y, np.broadcast_to(b[:, None, None], (2, 4, 2, 7)), "bias alone")


@pytest.mark.parametrize("stride", [10**6, 2**33, 2**60, 2**62, 2**63 - 1])
@pytest.mark.parametrize("groups", [1, 3], ids=["dense", "depthwise"])
def test_stride_beyond_the_image(groups: int, stride: int) -> None:
    """Nothing is as long as a stride that leads nowhere: neither a table nor the way to the result."""
    x, w, _ = BY_NAME["stride.past_end"].integers()
    w = w[:3, : 3 // groups]
    g = np.ones((1, 3, 1, 1), np.float32)
    options: dict[str, Any] = {"groups": groups, "stride": stride}
    for algorithm in supporting(x, w, **options):
        y = tc.conv2d(x, w, **options, algorithm=algorithm)
        assert_exact(y, reference.conv2d(x, w, groups=groups)[:, :, :1, :1], f"stride {stride} by {algorithm}")
        assert tc.explain(x.shape, w.shape, **options, algorithm=algorithm).workspace_bytes < 2**16, algorithm
    for algorithm in supporting(x, w, **options, pass_="input_gradient"):
        back = tc.grad.conv2d_input(x.shape, w, g, **options, algorithm=algorithm)
        expected = reference.conv2d_input(x.shape, w, g, stride=6, groups=groups)
        assert_exact(back, expected, f"gradient of stride {stride} by {algorithm}")


@pytest.mark.parametrize("stride", [10**3, 10**6, 2**33, 614891469123651719, 2**60 - 1])
@pytest.mark.parametrize("layout", ["contiguous", "nhwc"])
@pytest.mark.parametrize("groups", [1, 3], ids=["dense", "depthwise"])
def test_stride_from_padding_to_padding(groups: int, layout: str, stride: int, isa: str) -> None:
    """The first and the last row of outputs read zeros: the rows that strides leave out are nowhere in a table."""
    rng = np.random.default_rng(0)
    x = arrange(rng.integers(-4, 5, (1, 3, 15, 9)).astype(np.float32), layout)
    w = rng.integers(-4, 5, (3, 3 // groups, 3, 3)).astype(np.float32)
    outside: dict[str, Any] = {"groups": groups, "stride": (stride, 1), "padding": ((stride - 2, stride), (1, 1))}
    inside = reference.conv2d(x, w, groups=groups, padding=(0, 1))[:, :, 2:3]
    expected = np.concatenate([np.zeros_like(inside), inside, np.zeros_like(inside)], axis=2)
    for algorithm in supporting(x, w, **outside):
        assert_accurate(tc.conv2d(x, w, **outside, algorithm=algorithm), expected, algorithm)
        report = tc.explain(x.shape, w.shape, **outside, algorithm=algorithm)
        assert report.workspace_bytes < 2**20, algorithm


@pytest.mark.parametrize("dilation", [2**62, 2**63 - 2, 2**63 - 1])
@pytest.mark.parametrize("channels", [1, 16], ids=["depthwise", "dense"])
def test_dilation_of_a_single_tap(channels: int, dilation: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 16, 9, 9)), rng.standard_normal((64 if channels > 1 else 16, channels, 1, 1))
    problem = {"padding": 2, "groups": 16 // channels}
    algorithms = supporting(x, w, **problem)
    assert len(algorithms) >= 3
    for algorithm in algorithms:
        near = tc.conv2d(x, w, **problem, algorithm=algorithm)
        assert_same_bits(tc.conv2d(x, w, **problem, dilation=dilation, algorithm=algorithm), near, algorithm)


@pytest.mark.parametrize("isa", tc._core.isas())
def test_choice_does_not_depend_on_freezing(isa: str) -> None:
    """Patches of one plane may go by either map of their elements, and by depthwise."""
    with forced_isa(isa):
        for kernel, size, out_channels in [(2, 20, 16), (3, 39, 32), (4, 52, 64), (7, 84, 128), (5, 60, 8)]:
            layer = tc.Conv2d(1, out_channels, kernel, kernel, rng=0)
            shape = (1, 1, size, size)
            loose = tc.explain(shape, layer.weight.shape, stride=kernel)
            frozen = tc.explain(shape, layer.weight.shape, stride=kernel, frozen=True)
            assert loose.algorithm == frozen.algorithm
            x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
            assert_same_bits(layer(x), layer.freeze()(x), f"{kernel} {size} {out_channels}")


def test_unbatched_is_a_batch_of_one() -> None:
    for case in (case for case in CASES if case.batch == 1):
        x, w, b = case.normals()
        assert_same_bits(tc.conv2d(x[0], w, b, **case.options), tc.conv2d(x, w, b, **case.options)[0], str(case))


def test_inputs_are_not_written() -> None:
    for case in CASES:
        arrays = case.normals()
        tc.conv2d(*arrays, **case.options)
        for array, again in zip(arrays, case.normals()):
            assert (array is None and again is None) or np.array_equal(array, again), case  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_stride_of_a_single_column_means_nothing(isa: str) -> None:
    """NumPy may leave anything there; pointwise layers take adjacent rows for columns."""
    rng = np.random.default_rng(3)
    column = rng.standard_normal((2, 40, 50)).astype(np.float32)
    w = rng.standard_normal((33, 40, 1, 1)).astype(np.float32)
    for value in (None, np.nan):
        if value is not None:
            column[1, 3, 7] = value
        views = [column[..., None], column[:, :, None, :].copy().transpose(0, 1, 3, 2)]
        assert {view.strides[3] for view in views} == {0, 200}
        expected = reference.conv2d(np.ascontiguousarray(views[0]), w)
        outs = [np.full((2, 33, 1, 50), np.nan, np.float32).transpose(0, 1, 3, 2), None]
        for algorithm, view, out in product(("auto", "shift_gemm", "strassen"), views, outs):
            assert_accurate(tc.conv2d(view, w, out=out, algorithm=algorithm), expected, f"{algorithm} {view.strides}")


def test_large_results_begin_half_a_page_from_what_is_read() -> None:
    """And at a cache line, in every pass: where they met, loads would wait for stores."""
    w = np.ones((4, 4, 3, 3), np.float32)
    layer = tc.Conv2d(4, 4, 3, padding=1).freeze()
    room = np.zeros(4 * 100 * 100 + 1024, np.float32)
    for offset in (0, 4, 33, 512, 1023):
        x = room[offset : offset + 4 * 100 * 100].reshape(1, 4, 100, 100)
        results = {
            "frozen layer": layer(x),
            "convolution": tc.conv2d(x, w, padding=1),
            "input gradient": tc.grad.conv2d_input(x.shape, w, x, padding=1),
            "transposed convolution": tc.conv_transpose2d(x, w, padding=1),
        }
        for name, y in results.items():
            assert y.ctypes.data % 64 == 0, name
            assert (y.ctypes.data - x.ctypes.data // 64 * 64) % 4096 == 2048, name
