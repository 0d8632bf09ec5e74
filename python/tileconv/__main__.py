"""``python -m tileconv info`` and ``python -m tileconv demo``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import __version__, show_config


def picture(name: str) -> Path:
    """The path of a picture that can be written, found out before the work."""
    path = Path(name)
    if path.suffix != ".png" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected a name that ends in .png, in a folder that exists, got {name!r}")
    return path


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m tileconv", description="Fast 2-D convolution over NumPy arrays.")
    parser.add_argument("--version", action="version", version=f"tileconv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{info,demo}")
    commands.add_parser("info", help="print version, processor, instruction set, threads and algorithms")
    demo = commands.add_parser("demo", help="draw a picture of what convolutions do and time ResNet-50's layers")
    demo.add_argument("--out", type=picture, default="tileconv-demo.png", metavar="PICTURE.png", help="the picture")
    demo.add_argument("--quick", action="store_true", help="time each layer only briefly")
    options = parser.parse_args(arguments)
    if options.command == "info":
        show_config()
        return 0
    try:
        from ._demo import run
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        print(f"the demo needs {missing}, which is not installed: pip install 'tileconv[demo]'", file=sys.stderr)
        return 1
    run(options.out, quick=options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
