"""No byte outside of an array is read or written: the arrays touch pages that may not be accessed.

A vector load past the last row goes unnoticed until the array happens to end where a page does; here every array does.
"""

from __future__ import annotations

import ctypes
import mmap
import signal
from dataclasses import replace

import numpy as np
import pytest

import reference
from cases import CASES, DTYPES, Array
from checks import assert_exact, forced_isa, is_exact, runs
from test_resources import linux, run_python

PAGE = mmap.PAGESIZE
PROT_NONE = 0


def between_guards(values: Array, at_end: bool) -> Array:
    """A copy of `values` that ends right before a forbidden page, or begins right behind one."""
    body = -(-max(values.nbytes, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, body + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (address, address + PAGE + body):
        if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    offset = PAGE + body - values.nbytes if at_end else PAGE
    array = np.frombuffer(memory, values.dtype, values.size, offset).reshape(values.shape)
    array[...] = values
    return array


def run_every_case(isa: str, dtype: str, at_end: bool) -> None:
    with forced_isa(isa):
        for case in (replace(case, dtype=dtype) for case in CASES):
            x, w, b = (None if array is None else between_guards(array, at_end) for array in case.integers())
            assert x is not None
            assert w is not None
            expected = reference.conv2d(x, w, b, **case.options)
            out = between_guards(np.full(expected.shape, np.nan, x.dtype), at_end)
            for label, found, run in runs(case, w, b):
                print(label, flush=True)
                run(x, out)
                if is_exact(found):
                    assert_exact(out, expected, label)


@linux
@pytest.mark.parametrize("at_end", [False, True], ids=["guard before", "guard behind"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_beside_forbidden_pages(dtype: str, at_end: bool, isa: str) -> None:
    done = run_python(f"import test_guard_pages as t; t.run_every_case({isa!r}, {dtype!r}, {at_end})")
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]} failed with code {done.returncode}\n{done.stderr}"


@linux
def test_guards_are_forbidden() -> None:
    """Otherwise the test above could not fail."""
    code = "import ctypes, numpy as np, test_guard_pages as t; a = t.between_guards(np.ones(5), {at_end})\n"
    for at_end, offset in ((True, 40), (False, -1)):
        read = f"print(ctypes.string_at(a.ctypes.data + {offset}, 1))"
        assert run_python(code.format(at_end=at_end) + read).returncode == -signal.SIGSEGV
        assert run_python(code.format(at_end=at_end) + read.replace(str(offset), "0")).returncode == 0
