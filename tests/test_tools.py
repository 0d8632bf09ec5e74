"""What tileconv tells about itself: `explain`, `show_config`, the command line, the examples in the documentation."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from types import ModuleType

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import CASES, DTYPES, Case
from checks import plan, supported
from test_resources import run_python


@pytest.mark.parametrize("case", CASES, ids=attrgetter("name"))
def test_explained_problem_is_the_descriptor(case: Case) -> None:
    """`explain` names the problem in the words of the cases, with named padding resolved to sides."""
    (top, bottom), (left, right) = reference.sides(
        case.options["padding"], (case.in_h, case.in_w), case.kernel, case.stride, case.dilation
    )
    resolved = replace(case, padding=(top, bottom, left, right), bias=False)
    for dtype in DTYPES:
        typed = replace(resolved, dtype=dtype)
        found = plan(replace(case, dtype=dtype))
        assert found.problem.startswith(str(typed))


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
def test_explanation(frozen: bool, isa: str) -> None:
    shapes = (2, 64, 56, 56), (32, 64, 3, 3)
    found = tc.explain(*shapes, stride=2, padding=1, frozen=frozen)
    assert found.pass_ == "forward"
    assert found.output_shape == (2, 32, 28, 28)
    assert found.isa == isa
    assert found.algorithm in tc._core.algorithms()
    assert found.kernel
    assert 1 <= found.threads <= tc.get_num_threads()
    assert found.blocking
    assert all(type(size) is int for size in found.blocking.values())
    assert 0 < found.workspace_bytes < 8 << 20
    assert 0 <= found.packed_bytes < 17 * 32 * 64 * 9 * 4
    assert set(found.rejected) == set(tc._core.algorithms()) - {found.algorithm}
    assert all(reason.strip() for reason in found.rejected.values())
    text = str(found)
    for word in (found.problem, found.algorithm, found.kernel, isa, found.accuracy, *found.rejected):
        assert word in text


@pytest.mark.parametrize("algorithm", tc._core.algorithms())
def test_explanation_of_a_named_algorithm(algorithm: str) -> None:
    found = plan(replace(supported(algorithm), dtype="f64"), algorithm)
    assert found.algorithm == algorithm
    assert found.accuracy


def test_auto_takes_no_plain_loops() -> None:
    """The reference is the last resort; on anything but a trifle it is never the fastest."""
    for case in CASES:
        found = plan(case)
        work = case.fan_in * np.prod(found.output_shape)
        assert found.algorithm != "reference" or work < 1000, case


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    tc.show_config()
    shown, found = capsys.readouterr().out, tc._core.config()
    for word in (tc.__version__, found["cpu"], found["isa"], *found["isas"], found["compiler"], *found["algorithms"]):
        assert str(word) in shown
    assert found["isa"] == tc._core.get_isa()
    assert found["isas"] == tc._core.isas()
    assert found["threads"] == tc.get_num_threads()
    assert found["cores"] >= 1
    assert all(found["cache_bytes"][level] > 1024 for level in ("l1d", "l2", "l3"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["info"], 0, ("tileconv", tc.__version__, tc._core.isas()[-1], "shift_gemm")),
        (["--help"], 0, ("info", "demo")),
        (["--version"], 0, (tc.__version__,)),
        ([], 2, ("info", "demo")),
        (["nonsense"], 2, ("nonsense", "info", "demo")),
    ],
)
def test_command_line(arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tileconv", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    shown = done.stdout if code == 0 else done.stderr
    assert all(word in shown for word in words), shown


def public_modules() -> list[ModuleType]:
    names = [found.name for found in pkgutil.iter_modules(tc.__path__) if not found.name.startswith("_")]
    return [tc, *(importlib.import_module(f"tileconv.{name}") for name in names)]


@pytest.mark.parametrize("module", public_modules(), ids=attrgetter("__name__"))
def test_examples_in_the_documentation(module: ModuleType) -> None:
    assert doctest.testmod(module, verbose=False).failed == 0


def test_everything_public_is_documented() -> None:
    documented = [name for name in tc.__all__ if (getattr(tc, name).__doc__ or "").strip()]
    assert documented == tc.__all__
    examples = doctest.DocTestFinder()
    for name in set(tc.__all__) - {"Explanation"}:
        assert any(test.examples for test in examples.find(getattr(tc, name), name)), f"{name} has no example"


def test_peak_is_measured() -> None:
    for dtype in DTYPES.values():
        assert tc._core.fma_peak(dtype, 0.01) > 0.1


def test_typed() -> None:
    done = run_python("import importlib.resources as r; print((r.files('tileconv') / 'py.typed').is_file())")
    assert done.stdout.strip() == "True"
