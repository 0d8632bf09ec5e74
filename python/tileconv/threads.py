"""What holds for the whole process: the number of threads, and what was built and detected."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import _core
from ._forms import integer
from .functional import readable_bytes, table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import SupportsIndex


def set_num_threads(n: SupportsIndex) -> None:
    """Set how many threads a call may use, in all of the process.

    Results do not depend on it: they have the same bits for any number of threads.

    Parameters
    ----------
    n : int
        At least 1. Small problems stay on the caller's thread whatever `n` is.

    Raises
    ------
    TypeError
        `n` is not an int.
    ValueError
        `n` is less than 1 or more than the thread pool can hold.

    See Also
    --------
    num_threads : The same for the length of a ``with`` block.

    Examples
    --------
    >>> import tileconv as tc
    >>> before = tc.get_num_threads()
    >>> tc.set_num_threads(2)
    >>> tc.get_num_threads()
    2
    >>> tc.set_num_threads(before)
    """
    _core.set_num_threads(integer(n, "n"))


def get_num_threads() -> int:
    """How many threads a call may use.

    The first of these that is given: `set_num_threads`, the environment's ``TILECONV_NUM_THREADS``, its
    ``OMP_NUM_THREADS``, the number of processors the process may run on.

    Returns
    -------
    int

    Examples
    --------
    >>> import tileconv as tc
    >>> tc.get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


@contextmanager
def num_threads(n: SupportsIndex) -> Iterator[None]:
    """Context manager: `n` threads inside the ``with`` block, the former number after it, also on an exception.

    The number is the process's: other Python threads that convolve meanwhile use it too.

    Parameters
    ----------
    n : int
        As for `set_num_threads`.

    Examples
    --------
    >>> import tileconv as tc
    >>> with tc.num_threads(1):
    ...     tc.get_num_threads()
    1
    """
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def show_config() -> None:
    """Print the version, the processor and instruction sets found, caches, threads, compiler and algorithms.

    Please put this output into bug reports. The instruction set is the best one found, or what the environment's
    ``TILECONV_ISA`` names.

    Examples
    --------
    >>> import tileconv as tc
    >>> tc.show_config()  # doctest: +ELLIPSIS
    tileconv ...
    """
    found = _core.config()
    rows = {
        "tileconv": found["version"],
        "processor": f"{found['cpu']}, {found['cores']} cores",
        "caches": "  ".join(f"{name} {readable_bytes(size)}" for name, size in found["cache_bytes"].items()),
        "isa": f"{found['isa']}  (of {', '.join(found['isas'])})",
        "threads": found["threads"],
        "algorithms": ", ".join(found["algorithms"]),
        "compiler": f"{found['compiler']}, {found['build_type']}",
    }
    print("\n".join(table(rows)))
