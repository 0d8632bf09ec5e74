"""Memory and threads: bounded workspace, no growth, the GIL released, fork, idle workers, the environment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reference
import tileconv as tc
from cases import BY_NAME, Case
from checks import assert_accurate, assert_exact, is_exact, plan, runs, supported

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
SETTINGS = ("TILECONV_ISA", "TILECONV_NUM_THREADS", "OMP_NUM_THREADS")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter without this one's settings; a hang is a failure."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [kept.get("PYTHONPATH")])])
    # Threads of NumPy's BLAS would be counted among ours.
    environment = {**kept, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)


def output_of(code: str, **environment: str) -> str:
    done = run_python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LARGE = [
    "ic64 ih224 oc64 kh3 p1",
    "ic64 ih2048 oc64 kh3 p1",
    "ic512 ih33 oc256 kh3 d18 p18",
    "ic4096 ih7 oc512 kh3 p1",
    "ic3 ih4096 oc64 kh7 s2 p3",
    "ic1 ih1024 oc1 kh31 p15",
    "ic2048 ih56 oc64 kh1",
    "ic256 ih64 oc256 kh3 p1 reflect",
    "ic512 ih64 oc512 kh3 p1 g512",
]


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
@pytest.mark.parametrize("descriptor", LARGE)
def test_workspace_is_bounded_and_independent_of_the_batch(descriptor: str, frozen: bool, isa: str) -> None:
    case = Case.parse(descriptor)
    tc.set_num_threads(1)
    sizes = [plan(replace(case, batch=batch), frozen=frozen).workspace_bytes for batch in (1, 3, 64)]
    assert sizes == sizes[:1] * 3
    assert 0 <= sizes[0] <= 8 << 20


def test_workspace_does_not_follow_the_image() -> None:
    tc.set_num_threads(1)
    small, large = (plan(Case.parse(f"ic64 ih{size} oc64 kh3 p1")).workspace_bytes for size in (512, 8192))
    assert large < 32 * max(small, 1 << 16), "16 times as wide an image, 256 times the pixels"


MEASURE = """
import re
import numpy as np, tileconv as tc

def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
"""


@linux
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
def test_peak_beyond_the_arrays(frozen: bool, threads: int) -> None:
    """One call on 64 channels of 224 x 224; writing 5 to clear_refs resets the high-water mark."""
    code = f"""
x, out = np.ones((1, 64, 224, 224), np.float32), np.ones((1, 64, 224, 224), np.float32)
layer = tc.Conv2d(64, 64, 3, padding=1, rng=0)
if {frozen}:
    layer.freeze()
tc.Conv2d(2, 2, 3)(x[:, :2, :8, :8])
try:
    open("/proc/self/clear_refs", "w").write("5")
except OSError:
    raise SystemExit("unavailable")
before = memory("VmRSS")
layer(x, out=out)
print(memory("VmHWM") - before)
"""
    done = run_python(MEASURE + code, TILECONV_NUM_THREADS=str(threads))
    if "unavailable" in done.stderr:
        pytest.skip("the high-water mark cannot be reset")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8 << 20


@linux
def test_no_growth_over_calls() -> None:
    """What leaks does so in every round; the heap, and a system that reclaims idle pages, move single ones."""
    code = """
from cases import CASES
problems = [(case, case.normals()) for case in CASES[::3]]

def calls(count):
    for _ in range(count):
        for case, (x, w, b) in problems:
            tc.conv2d(x, w, b, **case.options)
            tc._core.FrozenConv2d(w, b, case.stride, case.padding, case.dilation, case.groups, case.padding_mode).run(x)

rounds = []
for _ in range(4):
    before = memory("VmRSS")
    calls(20)
    rounds.append(memory("VmRSS") - before)
print(min(rounds))
"""
    assert int(output_of(MEASURE + code)) < 1 << 20


def test_no_growth_over_large_weights() -> None:
    """Packed weights of many megabytes, frozen and dropped, with small arrays made between them."""
    code = """
layers = [(64, 3, 14), (512, 3, 7), (512, 1, 7)]
arrays = [(np.ones((1, n, s, s), "f4"), np.ones((n, n, k, k), "f4"), k // 2) for n, k, s in layers]

def calls():
    kept = []
    for x, w, pad in arrays:
        layer = tc._core.FrozenConv2d(w, None, (1, 1), (pad,) * 4, (1, 1), 1, "zeros")
        layer.run(x)
        kept.append(np.ones(1000))
        tc.conv2d(x, w, padding=pad)

calls()
rounds = []
for _ in range(4):
    before = memory("VmRSS")
    for _ in range(3):
        calls()
    rounds.append(memory("VmRSS") - before)
print(min(rounds))
"""
    assert int(output_of(MEASURE + code)) < 1 << 20


def lasting(seconds: float, algorithm: str) -> Case:
    """A problem of little output that keeps `algorithm` busy on one thread for about so long."""
    case = supported(algorithm)
    x, w, _ = case.normals()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        tc.conv2d(x, w, **case.options, algorithm=algorithm)
        times.append(time.perf_counter() - start)
    return replace(case, batch=int(seconds / min(times)) + 1)


@pytest.mark.parametrize("frozen", [False, True], ids=["fresh", "frozen"])
@pytest.mark.parametrize("algorithm", tc._core.algorithms())
def test_gil_is_released(algorithm: str, frozen: bool) -> None:
    tc.set_num_threads(1)
    case = lasting(0.4, algorithm)
    image, w, _ = replace(case, batch=1).normals()
    x = np.broadcast_to(image, case.input_shape)
    _, _, run = list(runs(case, w, None, [algorithm]))[frozen]
    ticks, done = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.002):
            ticks += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        time.sleep(0.01)
        before, start = ticks, time.perf_counter()
        run(x)
        during, elapsed = ticks - before, time.perf_counter() - start
    finally:
        done.set()
        ticker.join()
    assert elapsed > 0.05
    assert during > elapsed / 0.002 / 20, f"another Python thread ran {during} times in {elapsed:.2f} s"


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_call_at_once(threads: int, isa: str) -> None:
    tc.set_num_threads(threads)
    names = ("resnet.3x3", "vgg", "depthwise.3x3", "padmode.reflect9", "pointwise.wide", "dilated.6")
    cases = [BY_NAME[name] for name in names]
    cases.append(Case.parse("ic32 ih56 oc32 kh3 p1"))
    barrier = threading.Barrier(len(cases))

    def work(case: Case) -> None:
        x, w, b = case.integers()
        expected = reference.conv2d(x, w, b, **case.options)
        barrier.wait(timeout=30)
        for _ in range(5):
            for label, found, run in runs(case, w, b):
                check = assert_exact if is_exact(found) else assert_accurate
                check(run(x), expected, f"{label}, beside other threads")

    with ThreadPoolExecutor(len(cases)) as executor:
        list(executor.map(work, cases))


FORK = """
import multiprocessing, os, sys, threading, warnings
import numpy as np, tileconv as tc
from cases import Case
import reference

warnings.simplefilter("ignore", DeprecationWarning)
case = Case.parse("b2 ic32 ih56 oc32 kh3 p1")
x, w, _ = case.integers()
expected = reference.conv2d(x, w, **case.options)
layer = tc.Conv2d(32, 32, 3, padding=1, bias=False)
layer.weight[...] = w
layer.freeze()
tc.set_num_threads(2)
assert tc.explain(x.shape, w.shape, padding=1).threads == 2

def near(y):
    return np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()

def right(_=None):
    return near(tc.conv2d(x, w, padding=1)) and near(layer(x)) and tc.get_num_threads() == 2

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize(
    "scenario",
    {
        "first use in the child": "assert child(right) == 0 and right()",
        "after use": "assert right() and child(right) == 0 and right()",
        "grandchild": "assert right() and child(lambda: right() and child(right) == 0) == 0 and right()",
        "pool": "assert right() and all(multiprocessing.get_context('fork').Pool(2).map(right, range(6))) and right()",
        "while another thread computes": """
done, wrong = threading.Event(), []
def busy():
    while not done.is_set():
        right() or wrong.append(1)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads: thread.start()
codes = [child(right) for _ in range(8)]
done.set()
for thread in threads: thread.join()
assert codes == [0] * 8 and not wrong and right()
""",
        "while another thread plans and packs": """
done, wide = threading.Event(), tc.Conv2d(256, 256, 3, bias=False).freeze()
def busy():
    height = 3
    while not done.is_set():
        wide(np.ones((1, 256, height, 3), np.float32))
        height = 3 + (height + 1) % 60
thread = threading.Thread(target=busy)
thread.start()
codes = [child(lambda: wide(np.ones((1, 256, 5, 5), np.float32)).shape[1] == 256) for _ in range(40)]
done.set()
thread.join()
assert codes == [0] * 40
""",
    }.items(),
    ids=lambda item: item[0],
)
def test_fork(scenario: tuple[str, str]) -> None:
    output_of(FORK + scenario[1])


IDLE = """
import os, time
import numpy as np, tileconv as tc
tasks = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
x, w = np.ones((1, 32, 112, 112), np.float32), np.ones((32, 32, 3, 3), np.float32)
tc.set_num_threads(3)
"""


@linux
def test_idle_workers_sleep() -> None:
    code = """
for _ in range(3):
    tc.conv2d(x, w)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before, tasks())
"""
    spent, tasks = output_of(IDLE + code).split()
    assert int(tasks) == 3, "the pool has two workers beside the caller"
    assert float(spent) < 0.02


@linux
def test_small_problems_stay_on_the_callers_thread() -> None:
    code = "tc.conv2d(x[:, :, :8, :8], w); print(tasks(), tc.explain((1, 32, 8, 8), w.shape).threads)"
    assert output_of(IDLE + code) == "1 1"


THREADS = "import tileconv as tc; print(tc.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TILECONV_NUM_THREADS": "3"}, 3),
        ({"TILECONV_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"TILECONV_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5),
        ({}, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    ],
    ids=str,
)
def test_number_of_threads_from_the_environment(environment: dict[str, str], expected: int) -> None:
    assert output_of(THREADS, **environment) == str(expected)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity mask")
def test_number_of_threads_from_the_affinity_mask() -> None:
    pin = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert output_of(pin + THREADS) == "1"
    assert output_of(pin + THREADS, TILECONV_NUM_THREADS="2") == "2"


def test_number_of_threads_in_a_block() -> None:
    tc.set_num_threads(2)
    with tc.num_threads(3):
        assert tc.get_num_threads() == 3
        with pytest.raises(ValueError, match="stride"), tc.num_threads(1):
            tc.explain((1, 1, 3, 3), (1, 1, 3, 3), stride=0)
        assert tc.get_num_threads() == 3
    assert tc.get_num_threads() == 2


FIRST_CALL = """
import numpy as np, tileconv as tc
tc.conv2d(np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32))
print(tc._core.get_isa(), tc.explain((1, 1, 3, 3), (1, 1, 3, 3)).isa)
"""


@pytest.mark.parametrize("name", tc._core.isas())
def test_forced_isa_is_active(name: str) -> None:
    assert output_of(FIRST_CALL, TILECONV_ISA=name) == f"{name} {name}"


def test_best_isa_by_default() -> None:
    assert output_of(FIRST_CALL).split() == [tc._core.isas()[-1]] * 2


@pytest.mark.parametrize("name", ["avx1024", "AVX2", "neon" if "neon" not in tc._core.isas() else "avx2"])
def test_unknown_isa_is_an_error(name: str) -> None:
    done = run_python(FIRST_CALL, TILECONV_ISA=name)
    assert done.returncode == 1, "neither a fallback nor a crash"
    error = done.stderr.strip().splitlines()[-1]
    for word in ("TILECONV_ISA", name, *tc._core.isas()):
        assert word in error
    with pytest.raises(ValueError, match=name):
        tc._core.set_isa(name)


def test_import_is_quick() -> None:
    """Under 30 ms over NumPy's own import; the best of several, for the machine may be busy."""
    code = "import numpy, time; start = time.perf_counter(); import tileconv; print(time.perf_counter() - start)"
    assert min(float(output_of(code)) for _ in range(5)) < 0.03


def test_import_brings_nothing_but_numpy() -> None:
    code = "import sys, tileconv; print(sorted({'torch', 'matplotlib', 'rich', 'scipy', 'skimage'} & set(sys.modules)))"
    assert output_of(code) == "[]"
