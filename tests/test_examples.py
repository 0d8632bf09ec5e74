"""The examples run, get somewhere and draw their pictures; shortened, each in its own process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

for needed in ("matplotlib", "rich", "skimage", "sklearn"):
    pytest.importorskip(needed)

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, picture: Path) -> str:
    """What the example prints; its picture has to show something."""
    from matplotlib.image import imread

    command = [sys.executable, str(EXAMPLES / name), "--quick", "--out", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert str(picture) in done.stdout
    pixels = imread(picture)
    assert min(pixels.shape[:2]) > 300
    assert np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0).shape[0] > 100
    return done.stdout


def test_train_digits(tmp_path: Path) -> None:
    found = re.search(r"test accuracy ([\d.]+)%", run("train_digits.py", tmp_path / "digits.png"))
    assert found
    assert float(found[1]) > 85


def test_denoise(tmp_path: Path) -> None:
    """The filter helps the photograph that it was learned from, and the other one too."""
    pairs = re.findall(r"([\d.]+) dB spoilt, ([\d.]+) dB restored", run("denoise.py", tmp_path / "denoise.png"))
    assert len(pairs) == 2
    for spoilt, restored in pairs:
        assert float(restored) > float(spoilt) + 2
