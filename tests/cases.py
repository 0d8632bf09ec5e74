"""Named convolution problems, and the one-line descriptors that name any problem.

A descriptor such as `b1 ic64 ih56 oc64 kh3 s2 p1 f32 zeros` names a problem in a failure report, on a command line, in
`explain` and in a table alike: `str(case)` prints it, `Case.parse` reads it. What is left out has its default: `iw` and
`kw` follow `ih` and `kh`; stride `s`, dilation `d` and groups `g` are 1, padding `p` is 0. Where the axes differ it is
`sh2 sw3`, `ph1 pw0`, and where the sides differ `pt1 pb0 pl2 pr3`; padding may also be one of the names `same`,
`valid`, `same_upper`, `same_lower`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Four = tuple[int, int, int, int]

MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
NAMED_PADDING = ("valid", "same", "same_upper", "same_lower")
DTYPES: dict[str, np.dtype[Any]] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}


@dataclass(frozen=True)
class Case:
    name: str
    in_channels: int
    in_h: int
    in_w: int
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Four | str = (0, 0, 0, 0)
    """(top, bottom, left, right), or a name."""
    dilation: Pair = (1, 1)
    groups: int = 1
    padding_mode: str = "zeros"
    bias: bool = False
    batch: int = 1
    dtype: str = "f32"

    @property
    def input_shape(self) -> Four:
        return self.batch, self.in_channels, self.in_h, self.in_w

    @property
    def weight_shape(self) -> Four:
        return self.out_channels, self.in_channels // self.groups, *self.kernel

    @property
    def fan_in(self) -> int:
        return self.in_channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `conv2d` besides the arrays."""
        top, bottom, left, right = (0, 0, 0, 0) if isinstance(self.padding, str) else self.padding
        padding = self.padding if isinstance(self.padding, str) else ((top, bottom), (left, right))
        return {
            "stride": self.stride,
            "padding": padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }

    def normals(self, seed: int = 0) -> tuple[Array, Array, Array | None]:
        """Input N(0, 1), weight N(0, 1 / fan_in), bias N(0, 1)."""
        rng, dtype = np.random.default_rng(seed), DTYPES[self.dtype]
        x = rng.standard_normal(self.input_shape).astype(dtype)
        w = (rng.standard_normal(self.weight_shape) / np.sqrt(max(self.fan_in, 1))).astype(dtype)
        return x, w, rng.standard_normal(self.out_channels).astype(dtype) if self.bias else None

    def integers(self, seed: int = 0) -> tuple[Array, Array, Array | None]:
        """Integers of -4..4: every partial sum is an integer below 2**24, so float32 has no rounding to hide behind."""
        rng, dtype = np.random.default_rng(seed), DTYPES[self.dtype]
        assert 16 * self.fan_in + 4 < 2**24
        x, w = (rng.integers(-4, 5, shape).astype(dtype) for shape in (self.input_shape, self.weight_shape))
        return x, w, rng.integers(-4, 5, self.out_channels).astype(dtype) if self.bias else None

    def __str__(self) -> str:
        def sizes(name: str, value: Pair) -> str:
            return f" {name}h{value[0]}" + (f" {name}w{value[1]}" if value[1] != value[0] else "")

        def option(name: str, value: Pair, default: int) -> str:
            if value[0] != value[1]:
                return f" {name}h{value[0]} {name}w{value[1]}"
            return "" if value[0] == default else f" {name}{value[0]}"

        text = f"b{self.batch} ic{self.in_channels}{sizes('i', (self.in_h, self.in_w))} oc{self.out_channels}"
        text += sizes("k", self.kernel) + option("s", self.stride, 1)
        if isinstance(self.padding, str):
            text += f" {self.padding}"
        elif self.padding[::2] == self.padding[1::2]:
            text += option("p", self.padding[::2], 0)
        else:
            text += "".join(f" p{side}{pad}" for side, pad in zip("tblr", self.padding))
        text += option("d", self.dilation, 1) + (f" g{self.groups}" if self.groups != 1 else "")
        return f"{text} {self.dtype} {self.padding_mode}" + (" bias" if self.bias else "")

    @classmethod
    def parse(cls, descriptor: str, name: str | None = None) -> Case:
        """The inverse of `str`; a case without a name is called by its descriptor."""
        number: dict[str, int] = {}
        words: dict[str, str] = {}
        for token in descriptor.split():
            if match := re.fullmatch(r"(b|ic|oc|[ik][hw]|[sd][hw]?|p[hwtblr]?|g)(\d+)", token):
                number[match[1]] = int(match[2])
            elif word := _WORDS.get(token):
                words[word] = token
            else:
                raise ValueError(f"unknown token {token!r} in {descriptor!r}")

        def pair(letter: str, default: int | None = None) -> Pair:
            both = number.get(letter, default)
            vertical = number.get(letter + "h", both)
            horizontal = number.get(letter + "w", vertical if both is None else both)
            if vertical is None or horizontal is None:
                raise ValueError(f"{letter + 'h'!r} is missing from {descriptor!r}")
            return vertical, horizontal

        pad_h, pad_w = pair("p", 0)
        sides = {"pt": pad_h, "pb": pad_h, "pl": pad_w, "pr": pad_w}
        pads = tuple(number.get(side, pad) for side, pad in sides.items())
        return cls(
            name or descriptor,
            number["ic"],
            *pair("i"),
            number["oc"],
            pair("k"),
            pair("s", 1),
            words.get("padding", pads),  # type: ignore[arg-type]
            pair("d", 1),
            number.get("g", 1),
            words.get("mode", "zeros"),
            "bias" in words,
            number.get("b", 1),
            words.get("dtype", "f32"),
        )


_WORDS = {
    **dict.fromkeys(NAMED_PADDING, "padding"),
    **dict.fromkeys(MODES, "mode"),
    **dict.fromkeys(DTYPES, "dtype"),
    "bias": "bias",
}


FAMILIES = """
resnet.stem         b1 ic3 ih30 oc16 kh7 s2 p3 f32 zeros
resnet.1x1          b1 ic16 ih14 oc24 kh1 f32 zeros bias
resnet.3x3          b2 ic16 ih14 oc64 kh3 p1 f32 zeros bias
resnet.3x3.s2       b1 ic16 ih15 oc24 kh3 s2 p1 f32 zeros
resnet.1x1.s2       b1 ic24 ih14 oc32 kh1 s2 f32 zeros
resnet.7x7          b1 ic64 ih7 oc64 kh3 p1 f32 zeros
resnet.7x7.1x1      b1 ic96 ih7 oc160 kh1 f32 zeros
vgg                 b1 ic16 ih40 iw41 oc16 kh3 p1 f32 zeros bias
vgg.wide            b1 ic8 ih6 iw224 oc8 kh3 p1 f32 zeros
depthwise.3x3       b1 ic20 ih28 oc20 kh3 g20 p1 f32 zeros
depthwise.3x3.s2    b1 ic20 ih28 oc20 kh3 s2 g20 p1 f32 zeros bias
depthwise.5x5       b1 ic17 ih14 oc17 kh5 g17 p2 f32 zeros
depthwise.5x5.s2    b1 ic17 ih14 oc17 kh5 s2 g17 p2 f32 zeros bias
depthwise.7x7       b2 ic9 ih14 oc9 kh7 g9 p3 f32 zeros
depthwise.x2        b1 ic6 ih11 oc12 kh3 g6 p1 f32 zeros
depthwise.x3        b2 ic5 ih9 iw10 oc15 kh3 kw5 g5 pt1 pb2 pl3 pr0 f32 reflect bias
pointwise.wide      b1 ic24 ih28 oc72 kh1 f32 zeros
pointwise.tiles     b2 ic40 ih40 iw36 oc70 kh1 f32 zeros bias
pointwise.chunks    b1 ic520 ih17 oc40 kh1 f32 zeros
pointwise.deep      b1 ic1025 ih3 iw5 oc18 kh1 f32 zeros
pointwise.few       b2 ic40 ih11 iw13 oc6 kh1 f32 zeros bias
pointwise.columns   b1 ic3000 ih1 iw131 oc6 kh1 f32 zeros bias
pointwise.rows      b1 ic1500 ih3 iw101 oc4 kh2 kw1 p0 f32 zeros
pointwise.rest      b1 ic300 ih9 iw33 oc21 kh1 f32 zeros bias
pointwise.padded    b1 ic8 ih9 iw7 oc10 kh1 pt2 pb1 pl0 pr3 f32 zeros bias
pointwise.replicate b1 ic8 ih9 iw7 oc10 kh1 p1 f32 replicate
patch.4             b1 ic3 ih32 oc24 kh4 s4 f32 zeros bias
patch.2             b2 ic20 ih28 oc40 kh2 s2 f32 zeros bias
patch.rows          b1 ic3 ih30 iw16 oc20 kh5 kw1 sh6 sw1 f32 zeros
patch.grouped       b1 ic6 ih22 iw27 oc40 kh3 kw2 sh4 sw3 g2 f32 zeros
patch.16            b1 ic3 ih48 oc32 kh16 s16 f32 zeros
grouped.4           b1 ic32 ih14 oc32 kh3 g8 p1 f32 zeros
grouped.28          b1 ic8 ih28 oc8 kh3 g2 p1 f32 zeros bias
grouped.1x1         b1 ic30 ih14 oc12 kh1 g3 f32 zeros bias
grouped.16          b1 ic32 ih14 oc48 kh3 g2 p1 f32 zeros
grouped.odd         b2 ic21 ih9 iw8 oc15 kh3 kw2 g3 p1 f32 zeros
dilated.2           b1 ic16 ih20 oc16 kh3 d2 p2 f32 zeros
dilated.6           b1 ic16 ih17 oc16 kh3 d6 p6 f32 zeros bias
dilated.whole_taps  b1 ic9 ih5 oc14 kh3 d7 p7 f32 zeros
dilated.one_tap     b1 ic4 ih3 iw4 oc5 kh5 d20 p40 f32 zeros bias
dilated.narrow      b1 ic512 ih7 oc32 kh3 p2 d2 f32 zeros
dilated.narrow.s2   b1 ic256 ih10 oc40 kh3 s2 p3 d2 f32 zeros bias
dilated.columns     b2 ic600 ih9 iw3 oc16 kh3 d2 p2 f32 zeros
dilated.far         b1 ic2 ih2 iw3 oc3 kh3 kw2 d1000 dw501 pt1000 pb1001 pl0 pr1000 f32 zeros
dilated.replicate   b1 ic3 ih4 iw5 oc6 kh3 d9 p9 f32 replicate
dilated.rows        b1 ic4 ih5 iw30 oc6 kh5 dh4 dw3 ph8 pw6 f32 zeros
dilated.stride      b1 ic4 ih19 iw22 oc6 kh3 sh2 sw3 dh3 dw2 p3 f32 zeros
dense.valid         b1 ic8 ih20 oc16 kh3 f32 zeros
dense.5x5           b1 ic1 ih32 oc16 kh5 p2 f32 zeros
dense.1x7           b1 ic12 ih17 oc16 kh1 kw7 ph0 pw3 f32 zeros
dense.7x1           b1 ic12 ih17 oc16 kh7 kw1 ph3 pw0 f32 zeros
dense.deep          b1 ic520 ih4 oc9 kh3 p1 f32 zeros
dense.weights       b1 ic96 ih3 oc100 kh3 p1 f32 zeros bias
dense.batch         b7 ic5 ih6 oc7 kh3 p1 f32 zeros bias
padmode.reflect9    b1 ic3 ih20 oc8 kh9 p4 f32 reflect
padmode.circular    b1 ic6 ih16 iw24 oc9 kh5 p2 f32 circular
padmode.replicate   b1 ic6 ih16 iw24 oc9 kh3 p1 f32 replicate
image.blur          b1 ic1 ih70 iw131 oc1 kh3 p1 f32 zeros
image.blur11        b1 ic1 ih40 iw50 oc1 kh11 p5 f32 replicate
image.psf31         b1 ic1 ih40 iw45 oc1 kh31 p15 f32 zeros
image.31x31         b1 ic2 ih33 iw47 oc3 kh31 p15 f32 reflect bias
image.tall          b1 ic1 ih300 iw2 oc2 kh3 p1 f32 zeros
image.wide          b1 ic2 ih2 iw700 oc2 kh3 p1 f32 zeros
tiny.lenet          b1 ic1 ih28 oc6 kh5 f32 zeros bias
tiny.toy            b1 ic3 ih8 oc4 kh3 p1 f32 zeros
tiny.one            b1 ic1 ih1 oc1 kh1 f32 zeros bias
asymmetric.all      b2 ic6 ih13 iw18 oc8 kh2 kw5 sh3 sw2 dh3 dw1 g2 pt3 pb1 pl0 pr4 f32 zeros bias
asymmetric.tall     b1 ic3 ih31 iw5 oc7 kh5 kw1 sh1 sw3 d2 pt0 pb7 pl2 pr1 f32 replicate
asymmetric.wide     b1 ic4 ih5 iw33 oc5 kh1 kw4 sh2 sw1 dh1 dw4 pt1 pb0 pl5 pr6 f32 circular
asymmetric.one_side b1 ic3 ih9 oc4 kh3 pt0 pb0 pl0 pr2 f32 zeros
asymmetric.top      b1 ic3 ih9 oc4 kh3 pt2 pb0 pl0 pr0 f32 symmetric
stride.over_kernel  b1 ic5 ih17 iw20 oc6 kh2 sh3 sw5 f32 zeros
stride.3x3.wide     b1 ic18 ih12 iw140 oc9 kh3 s2 p1 f32 zeros
depthwise.tiles     b1 ic3 ih4 iw700 oc3 kh9 p4 g3 f32 zeros bias
depthwise.collide   b1 ic2 ih20 iw1024 oc2 kh7 p3 g2 f32 zeros bias
pixels              b17 ic40 ih1 oc33 kh1 f32 zeros bias
pixels.s2           b5 ic18 ih1 oc36 kh1 s2 g3 f32 reflect
pixels.depthwise    b33 ic19 ih1 oc19 kh1 g19 f32 zeros bias
stride.1x1.s3       b1 ic5 ih17 iw20 oc6 kh1 s3 f32 zeros
stride.padded       b1 ic5 ih17 iw20 oc6 kh3 sh5 sw4 p2 f32 zeros
stride.past_end     b1 ic3 ih5 iw6 oc4 kh3 s50 p1 f32 zeros
stride.1x1.mixed    b1 ic4 ih9 iw12 oc6 kh1 sh1 sw2 f32 zeros
stride.1x1.rows     b1 ic4 ih9 iw12 oc6 kh1 sh2 sw1 f32 zeros
stride.windows      b1 ic2 ih40 iw45 oc4 kh9 kw8 sh7 sw6 p4 f32 zeros
cover.exact         b1 ic5 ih7 iw6 oc9 kh7 kw6 f32 zeros
cover.padded        b2 ic4 ih5 iw3 oc6 kh7 kw5 p1 f32 zeros bias
cover.dilated       b1 ic3 ih9 oc4 kh3 d4 f32 zeros
large.deep          b1 ic3000 ih6 oc5 kh3 p1 f32 zeros
large.deep.1x1      b1 ic1500 ih20 oc3 kh1 f32 zeros bias
large.deep.dilated  b1 ic512 ih14 oc2 kh3 p6 d6 f32 zeros
large.bands         b1 ic4 ih200 oc3 kh3 p1 f32 zeros bias
large.stride        b1 ic3 ih200 iw210 oc2 kh7 s2 p3 f32 reflect
large.plane         b1 ic1 ih300 iw333 oc1 kh5 p2 f32 symmetric
large.wide          b1 ic1 ih20 iw3000 oc1 kh5 pt2 pb2 pl2 pr1 f32 circular
large.tall          b1 ic8 ih1000 iw5 oc2 kh3 p1 f32 zeros
large.1x1           b1 ic7 ih300 oc2 kh1 f32 zeros
large.1x1.s2        b1 ic64 ih100 oc4 kh1 s2 f32 zeros
large.grouped       b1 ic16 ih60 iw61 oc16 kh3 p1 g8 f32 replicate
large.batch         b9 ic12 ih9 oc50 kh3 p1 f32 zeros bias
empty.batch         b0 ic4 ih6 oc6 kh3 p1 f32 zeros bias
empty.height        b2 ic3 ih0 iw5 oc4 kh3 p2 f32 zeros bias
empty.width         b1 ic3 ih5 iw0 oc4 kh3 kw2 p1 f32 zeros
empty.both          b1 ic2 ih0 oc3 kh1 p1 f32 zeros
empty.depthwise     b2 ic3 ih0 iw5 oc3 kh3 p2 g3 f32 zeros bias
empty.plane         b1 ic1 ih4 iw0 oc1 kh3 p2 f32 zeros
limit.reflect       b1 ic3 ih5 iw4 oc4 kh3 ph4 pw3 f32 reflect
limit.circular      b1 ic3 ih5 iw4 oc4 kh3 ph5 pw4 f32 circular
limit.circular.dw   b2 ic19 ih5 iw4 oc19 kh3 ph5 pw4 g19 f32 circular
limit.symmetric     b1 ic3 ih5 iw4 oc4 kh3 ph5 pw4 f32 symmetric
limit.replicate     b1 ic3 ih2 iw3 oc4 kh3 pt7 pb8 pl9 pr6 f32 replicate
limit.symmetric.far b1 ic3 ih2 iw3 oc4 kh3 pt7 pb8 pl9 pr6 f32 symmetric
limit.one_pixel     b1 ic2 ih1 oc3 kh3 p1 f32 circular
"""
"""Small sisters of real layers, and the corners where an implementation breaks."""

EDGES = (1, 2, 3, 5, 7, 8, 13, 14, 15, 16, 17, 28, 31, 32, 33, 47, 48, 49)
"""Around the multiples of every vector length and micro-tile."""


def _tile_edges() -> Iterator[Case]:
    for n in EDGES:
        yield Case.parse(f"ic3 ih5 iw9 oc{n} kh3 p1 bias", f"edge.oc{n}")
        yield Case.parse(f"ic{n} ih5 iw9 oc7 kh3 p1", f"edge.ic{n}")
        yield Case.parse(f"ic3 ih4 iw{n} oc7 kh3 p1", f"edge.w{n}")
        yield Case.parse(f"ic3 ih{n} iw4 oc5 kh3 s2 p1", f"edge.h{n}.s2")
        yield Case.parse(f"ic5 ih3 iw{n} oc9 kh1", f"edge.1x1.w{n}")
        yield Case.parse(f"b2 ic{2 * n} ih5 iw6 oc{2 * n} kh3 g{2 * n} p1", f"edge.depthwise{2 * n}")


def _kernels() -> Iterator[Case]:
    for k in range(1, 12):
        pads = f"pt{k // 2} pb{(k - 1) // 2} pl{(12 - k) // 2} pr{(11 - k) // 2}"
        yield Case.parse(f"ic3 ih12 iw19 oc5 kh{k} kw{12 - k} {pads} bias", f"kernel.{k}x{12 - k}")
        yield Case.parse(f"ic2 ih13 iw21 oc3 kh{k} s{1 + k % 3} p{k // 2}", f"kernel.{k}.s{1 + k % 3}")


def _paddings() -> Iterator[Case]:
    for mode in MODES:
        yield Case.parse(f"ic3 ih9 iw11 oc5 kh4 kw3 pt3 pb1 pl0 pr4 {mode} bias", f"pad.{mode}.sides")
        yield Case.parse(f"ic3 ih9 iw11 oc5 kh3 s2 d2 p2 {mode}", f"pad.{mode}.s2d2")
        yield Case.parse(f"ic4 ih10 iw7 oc4 kh3 sh1 sw3 g4 pt2 pb3 pl1 pr2 {mode}", f"pad.{mode}.depthwise")
        yield Case.parse(f"b2 ic3 ih8 iw9 oc5 kh4 kw3 dh1 dw3 same {mode}", f"pad.{mode}.same")
        for name in ("same_upper", "same_lower"):
            yield Case.parse(f"ic3 ih10 iw13 oc5 kh4 kw5 sh3 sw2 {name} {mode}", f"pad.{mode}.{name}")
    yield Case.parse("ic3 ih8 iw9 oc5 kh4 kw3 s2 valid", "pad.valid")
    yield Case.parse("ic3 ih9 iw10 oc5 kh1 kw2 s3 same_upper", "pad.same_upper.over_kernel")


def _cases() -> tuple[Case, ...]:
    named = [line.split(maxsplit=1) for line in FAMILIES.strip().splitlines()]
    families = (Case.parse(descriptor, name) for name, descriptor in named)
    return *families, *_tile_edges(), *_kernels(), *_paddings()


CASES = _cases()
BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES), "two cases share a name"
