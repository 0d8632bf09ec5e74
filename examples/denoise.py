"""Learn one 31 x 31 filter that cleans a photograph, by gradient descent on NumPy arrays.

A photograph is spoilt by noise and by a regular interference. Whoever has the clean one too can ask for the filter that
brings the spoilt one closest to it: the loss is the mean squared difference, its gradient comes from
`tileconv.grad.conv2d_weight`. Circular padding joins opposite edges, so frequencies do not mix and tell the step size.
The filter learned from one photograph cleans another as well.

    python examples/denoise.py [--steps 1000] [--quick] [--out denoise.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track

import tileconv as tc

Array = NDArray[Any]
SIZE = 31
OPTIONS: dict[str, Any] = {"padding": SIZE // 2, "padding_mode": "circular"}


def photograph(name: str, top: int, left: int) -> Array:
    """256 x 256 pixels of one of scikit-image's own, grey, (1, height, width) in -0.5 .. 0.5."""
    pixels = getattr(skimage.data, name)()[top : top + 256, left : left + 256]
    grey = pixels if pixels.ndim == 2 else pixels @ [0.299, 0.587, 0.114]
    return (grey[None] / 255 - 0.5).astype(np.float32)


def spoil(image: Array, rng: np.random.Generator) -> Array:
    """Add noise of standard deviation 0.06 and a slanted wave of amplitude 0.15."""
    rows, columns = np.indices(image.shape[1:])
    wave = 0.15 * np.sin(2 * np.pi * (0.11 * rows + 0.17 * columns))
    return (image + wave + 0.06 * rng.standard_normal(image.shape)).astype(np.float32)


def restore(image: Array, weight: Array) -> Array:
    return tc.conv2d(image, weight, **OPTIONS)


def loss_of(difference: Array) -> float:
    return float(np.square(difference, dtype=np.float64).mean())


def decibels(loss: float) -> float:
    """Peak signal-to-noise ratio of images whose values span 1."""
    return float(-10 * np.log10(loss))


def fit(spoilt: Array, clean: Array, steps: int) -> tuple[Array, list[float]]:
    """The filter, from zeros, by accelerated gradient descent [1]; and the loss before each step.

    The loss is quadratic. Thanks to the circular padding its second derivative along a frequency is twice the spoilt
    image's power there, so half of 1 / (largest power) is a safe step for all: there is no rate to tune.

    [1] Y. Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k^2)", 1983
    """
    shape = (1, 1, SIZE, SIZE)
    weight = ahead = np.zeros(shape, np.float32)
    power = np.abs(np.fft.fft2(spoilt, norm="ortho")) ** 2
    rate, losses = np.float32(0.5 / power.max()), []
    for step in track(range(steps), "descending"):
        difference = restore(spoilt, ahead) - clean
        losses.append(loss_of(difference))
        gradient = tc.grad.conv2d_weight(spoilt, shape, np.float32(2 / clean.size) * difference, **OPTIONS)
        before, weight = weight, ahead - rate * gradient
        ahead = weight + np.float32(step / (step + 3)) * (weight - before)
    return weight, losses


def draw(rows: list[tuple[str, Array, Array, Array]], weight: Array, losses: list[float], path: Path) -> None:
    """A row of pictures for each (name, clean, spoilt, restored), and what was learned at its end."""
    figure = Figure(figsize=(14, 7.2), layout="constrained")
    places = figure.subplots(2, 4)
    for row, (name, *images) in zip(places, rows):
        for place, title, image in zip(row, (name, "spoilt", "restored"), images):
            quality = "" if image is images[0] else f", {decibels(loss_of(image - images[0])):.1f} dB"
            place.imshow(image[0], cmap="gray", vmin=-0.5, vmax=0.5)
            place.set_title(title + quality)
            place.set_axis_off()
    limit = np.abs(weight).max() / 6
    places[0, 3].imshow(weight[0, 0], cmap="RdBu_r", vmin=-limit, vmax=limit)
    places[0, 3].set_title(f"the learned {SIZE} x {SIZE} filter\n(its centre is off the scale)")
    places[0, 3].set_axis_off()
    places[1, 3].plot([decibels(loss) for loss in losses])
    places[1, 3].set(xlabel="step", ylabel="dB", title="peak signal-to-noise ratio")
    places[1, 3].grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main(arguments: list[str] | None = None) -> tuple[float, float]:
    parser = argparse.ArgumentParser(description="Learn a filter that cleans a photograph.")
    parser.add_argument("--steps", type=int, default=1000, help="of gradient descent (default 1000)")
    parser.add_argument("--quick", action="store_true", help="100 steps, to see that it works")
    parser.add_argument("--out", type=Path, default=Path("denoise.png"), help="the picture")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    clean, other = photograph("camera", 0, 100), photograph("coffee", 60, 200)
    spoilt, other_spoilt = spoil(clean, rng), spoil(other, rng)
    weight, losses = fit(spoilt, clean, 100 if options.quick else options.steps)
    rows = [
        ("learned from this", clean, spoilt, restore(spoilt, weight)),
        ("never seen", other, other_spoilt, restore(other_spoilt, weight)),
    ]
    draw(rows, weight, losses, options.out)
    for name, original, before, after in rows:
        found = [decibels(loss_of(image - original)) for image in (before, after)]
        print(f"{name}: {found[0]:.1f} dB spoilt, {found[1]:.1f} dB restored")
    print(f"picture in {options.out}")
    return decibels(loss_of(spoilt - clean)), decibels(loss_of(rows[0][3] - clean))


if __name__ == "__main__":
    main()
