"""What has to happen before NumPy or any contestant is imported: command-line options, CPU affinity, environment.

Standard library only: a thread pool is sized, and its threads inherit their affinity, when its library is loaded.
"""

import os
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from bench.passes import PASSES

OPTIONS: dict[str, dict[str, Any]] = {
    "pass": {"dest": "pass_", "choices": tuple(PASSES), "default": "forward", "help": "what is run (default: forward)"},
    "layers": {"help": "names, families or globs, comma separated (default: all but 'large' in gradients)"},
    "threads": {"type": int, "default": 1, "help": "threads of every contestant, one CPU each (default: 1)"},
    "peers": {"help": "peers to run, comma separated; '' for none (default: all that are installed)"},
    "rounds": {"type": int, "default": 7, "help": "batches of each contestant on each layer (default: 7)"},
    "seconds": {"type": float, "default": 0.03, "help": "length of a batch (default: 0.03)"},
    "isa": {"help": "instruction set of tileconv, as TILECONV_ISA; peers keep theirs"},
}


def parser(description: str | None, names: Iterable[str] = OPTIONS) -> ArgumentParser:
    """A parser that has the named options of `OPTIONS`."""
    options = ArgumentParser(description=description)
    for name in names:
        options.add_argument(f"--{name}", **OPTIONS[name])
    return options


def pin(threads: int, isa: str | None = None) -> None:
    """Keeps the process to the last `threads` of its CPUs (the first ones serve most interrupts)."""
    if isa:
        os.environ["TILECONV_ISA"] = isa
    # OpenMP's wait policy stays the default: its threads spin for a while between calls, as in a user's program.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if not hasattr(os, "sched_setaffinity"):
        return
    cpus = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(cpus):
        raise SystemExit(f"--threads must be from 1 to {len(cpus)}, the CPUs this process may use, got {threads}")
    os.sched_setaffinity(0, cpus[-threads:])
