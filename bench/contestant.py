"""What run.py expects of everything it times: tileconv (ours.py) and each peer (peers/)."""

import importlib
import importlib.util
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import numpy as np

from bench.case import Case
from bench.layers import Array

Call = Callable[[], Any]


class Unsupported(Exception):
    """The contestant cannot run this case; the text says why."""


class Contestant:
    """Made once a run, after the process is pinned; imports of its package stay inside its methods."""

    name: str
    modules: ClassVar[tuple[str, ...]]
    """What must be importable; the first tells the version."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    passes: ClassVar[Collection[str]] = ("forward",)
    winograd: ClassVar[bool] = False
    """Multiplies less often than the direct sum does, so it may pass the FMA peak."""
    limit_seconds: ClassVar[float] = 3.0
    """A call that takes longer is not worth timing."""

    @classmethod
    def available(cls) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in cls.modules)

    @classmethod
    def version(cls) -> str:
        return str(importlib.import_module(cls.modules[0]).__version__).partition("-")[0]

    def prepare(self, case: Case, threads: int) -> dict[str, Call]:
        """Ways to run the case, by name; raises `Unsupported`.

        Whatever can be done once (packing weights, binding memory) is done here. Where a setting suits some layers
        only, each of its values is a way of its own: the fastest is timed, so that nobody is judged by a bad setting.
        """
        raise NotImplementedError

    def to_numpy(self, result: Any) -> Array:
        """What a call returned, as an array in NCHW order; not part of the timed call."""
        return np.asarray(result)
