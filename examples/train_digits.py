"""Train a small convolutional network on handwritten digits, in plain NumPy with tileconv's layers.

The 1797 digits of 8 x 8 pixels come with scikit-learn, so nothing is downloaded. Two convolutions and a linear map to
ten scores are trained with Adam on the cross-entropy; each layer's gradients come from its `backward`. The picture
shows the loss, the learned filters of the first layer and the test digits that the network got wrong.

    python examples/train_digits.py [--epochs 120] [--quick] [--out train-digits.png]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits

import tileconv as tc

Array = NDArray[Any]


@dataclass
class Split:
    images: Array  # (N, 1, 8, 8) in 0 .. 1
    labels: Array  # (N,) of 0 .. 9


@dataclass
class Curves:
    loss: list[float] = field(default_factory=list)  # of each step
    accuracy: list[float] = field(default_factory=list)  # on the test digits, of each epoch


def load(rng: np.random.Generator) -> tuple[Split, Split]:
    """Three quarters of the digits to train on, the rest to test with."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    order = rng.permutation(len(images))
    train, test = np.split(order, [len(order) * 3 // 4])
    return Split(images[train], digits.target[train]), Split(images[test], digits.target[test])


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """About a third of the images moved by up to one pixel in both directions, as new digits to learn from."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))[:, 0]
    rows, columns = np.where(rng.random(len(images)) < 1 / 3, rng.integers(0, 3, (2, len(images))), 1)
    return windows[np.arange(len(images)), rows, columns][:, None]


class Network:
    """conv 3x3, ReLU, conv 3x3 with stride 2, ReLU, linear."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.conv1 = tc.Conv2d(1, 16, 3, padding=1, rng=rng)
        self.conv2 = tc.Conv2d(16, 32, 3, stride=2, padding=1, rng=rng)
        self.linear = (rng.standard_normal((32 * 4 * 4, 10)) / np.sqrt(32 * 4 * 4)).astype(np.float32)
        self.offset = np.zeros(10, np.float32)

    @property
    def parameters(self) -> list[Array]:
        arrays = [*self.conv1.state_dict().values(), *self.conv2.state_dict().values()]
        return [*arrays, self.linear, self.offset]

    def hidden(self, images: Array) -> tuple[Array, Array]:
        """What both convolutions give, after their ReLU."""
        first = np.maximum(self.conv1(images), 0)
        return first, np.maximum(self.conv2(first), 0)

    def scores(self, images: Array) -> Array:
        _, second = self.hidden(images)
        result: Array = second.reshape(len(images), -1) @ self.linear + self.offset
        return result

    def gradients(self, images: Array, labels: Array) -> tuple[float, list[Array]]:
        """The mean cross-entropy, and its gradients in the order of `parameters`."""
        first, second = self.hidden(images)
        features = second.reshape(len(images), -1)
        loss, d_scores = cross_entropy(features @ self.linear + self.offset, labels)
        d_second = (d_scores @ self.linear.T).reshape(second.shape) * (second > 0)
        grads2 = self.conv2.backward(first, d_second)
        grads1 = self.conv1.backward(images, grads2.input * (first > 0))
        assert grads1.bias is not None
        assert grads2.bias is not None
        by_layer = [grads1.weight, grads1.bias, grads2.weight, grads2.bias]
        return loss, [*by_layer, features.T @ d_scores, d_scores.sum(axis=0)]


def cross_entropy(scores: Array, labels: Array) -> tuple[float, Array]:
    """The mean of -log softmax(scores)[label], and its gradient."""
    rows = np.arange(len(labels))
    shifted_scores = scores - scores.max(axis=1, keepdims=True)
    log_softmax = shifted_scores - np.log(np.exp(shifted_scores).sum(axis=1, keepdims=True))
    gradient = np.exp(log_softmax)
    gradient[rows, labels] -= 1
    return float(-log_softmax[rows, labels].mean()), gradient / np.float32(len(labels))


class Adam:
    """D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2014, https://arxiv.org/abs/1412.6980"""

    def __init__(self, parameters: list[Array], beta1: float = 0.9, beta2: float = 0.999) -> None:
        self.parameters, self.beta1, self.beta2, self.steps = parameters, beta1, beta2, 0
        self.mean = [np.zeros_like(array) for array in parameters]
        self.square = [np.zeros_like(array) for array in parameters]

    def step(self, gradients: list[Array], rate: float) -> None:
        self.steps += 1
        rate *= np.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        for array, mean, square, gradient in zip(self.parameters, self.mean, self.square, gradients):
            mean += (1 - self.beta1) * (gradient - mean)
            square += (1 - self.beta2) * (gradient**2 - square)
            array -= rate * mean / (np.sqrt(square) + 1e-8)


def train(network: Network, digits: Split, test: Split, epochs: int, rng: np.random.Generator) -> Curves:
    """Train in batches of 64, the learning rate falling from 0.003 to 0 along a half cosine."""
    curves, optimiser = Curves(), Adam(network.parameters)
    batches = len(digits.labels) // 64
    steps = epochs * batches
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=steps)
        for epoch in range(epochs):
            order = rng.permutation(len(digits.labels))
            for batch in np.split(order[: 64 * batches], batches):
                loss, gradients = network.gradients(shifted(digits.images[batch], rng), digits.labels[batch])
                optimiser.step(gradients, 0.0015 * (1 + np.cos(np.pi * len(curves.loss) / steps)))
                curves.loss.append(loss)
                progress.advance(task)
            curves.accuracy.append(float((network.scores(test.images).argmax(axis=1) == test.labels).mean()))
            told = f"epoch {epoch + 1:2d}  loss {np.mean(curves.loss[-20:]):.3f}  test {curves.accuracy[-1]:6.2%}"
            progress.update(task, description=told)
    return curves


def draw(network: Network, test: Split, curves: Curves, path: Path) -> None:
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(3, 1))
    left, right = top.subfigures(1, 2, width_ratios=(1.6, 1))

    axes = left.subplots()
    axes.semilogy(curves.loss, color="0.75", linewidth=0.8, label="loss of a batch")
    window = min(20, len(curves.loss))
    smooth = np.convolve(curves.loss, np.full(window, 1 / window), "valid")
    axes.semilogy(np.arange(len(smooth)) + window - 1, smooth, color="tab:blue", label=f"mean of {window}")
    axes.set(xlabel="step", ylabel="cross-entropy", title=f"Test accuracy {curves.accuracy[-1]:.2%}")
    axes.legend(loc="upper right")

    right.suptitle("The 16 filters of the first layer\n(red adds, blue subtracts)")
    weight = network.conv1.weight[:, 0]
    limit = np.abs(weight).max()
    for place, kernel in zip(right.subplots(4, 4).flat, weight):
        place.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        place.set_axis_off()

    found = network.scores(test.images).argmax(axis=1)
    wrong = np.flatnonzero(found != test.labels)
    bottom.suptitle(f"{len(wrong)} of {len(found)} test digits are read wrongly: what was read (what it is)")
    places = bottom.subplots(1, 12)
    for place in places:
        place.set_axis_off()
    for place, index in zip(places, wrong):
        place.imshow(test.images[index, 0], cmap="gray_r", vmin=0, vmax=1)
        place.set_title(f"{found[index]} ({test.labels[index]})", fontsize=10)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description="Train a small CNN on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=120, help="passes over the training digits (default 120)")
    parser.add_argument("--quick", action="store_true", help="ten epochs, to see that it works")
    parser.add_argument("--out", type=Path, default=Path("train-digits.png"), help="the picture")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    digits, test = load(rng)
    network = Network(rng)
    curves = train(network, digits, test, 10 if options.quick else options.epochs, rng)
    draw(network, test, curves, options.out)
    print(f"test accuracy {curves.accuracy[-1]:.2%}, picture in {options.out}")
    return curves.accuracy[-1]


if __name__ == "__main__":
    main()
