"""Fixtures that put global settings back, and the hypothesis profile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import tileconv as tc
from checks import forced_isa

# Derandomized: a run of the suite gives the same verdict twice. No deadline: shared machines stall.
settings.register_profile(
    "tileconv", derandomize=True, deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tileconv")


@pytest.fixture(params=tc._core.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set of this machine in turn."""
    with forced_isa(request.param):
        yield request.param


@pytest.fixture(autouse=True)
def _threads_restored() -> Iterator[None]:
    threads = tc.get_num_threads()
    yield
    tc.set_num_threads(threads)
