"""Side-by-side benchmark of convolutions and their gradients: `python -m bench`, from the root of the repository."""

import json
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from bench.pin import parser, pin


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options.add_argument("--algorithms", action="store_true", help="also time every algorithm of tileconv by its name")
    options.add_argument("--json", type=Path, metavar="PATH", help="write the run here")
    options.add_argument("--chart", type=Path, metavar="PATH", help="draw the run here (PNG, SVG or PDF)")
    options.add_argument("--load", type=Path, metavar="RUN.json", help="show or draw an earlier run, measure nothing")
    options.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE.json", "AFTER.json"))
    options.add_argument(
        "--statistic", choices=("median", "min"), default="median", help="of the rounds, for tables and chart"
    )
    options.add_argument("--peak-only", action="store_true", help="measure the FMA peak of one core, nothing else")
    args = options.parse_args()
    pin(args.threads, args.isa)

    from bench import report

    console = report.wide_console()
    if args.compare:
        before, after = (report.use(json.loads(path.read_text()), args.statistic) for path in args.compare)
        report.print_comparison(before, after, console)
    elif args.peak_only:
        print_peaks()
    else:
        record = json.loads(args.load.read_text()) if args.load else measure(args, console)
        if args.json:
            args.json.write_text(json.dumps(record, indent=1))
        report.print_run(report.use(record, args.statistic), console)
        if args.chart:
            from bench import chart

            chart.draw(record, args.chart)


def measure(args: Namespace, console: Console) -> dict[str, object]:
    from bench.layers import load_suite
    from bench.progress import Progress
    from bench.run import Settings, run, select_contestants

    layers = load_suite(args.layers, args.pass_)
    contestants = select_contestants(args.peers, args.algorithms, args.pass_)
    settings = Settings(args.threads, args.rounds, args.seconds, args.dtype, args.pass_)
    with Progress(len(layers), console) as progress:
        return run(layers, contestants, settings, progress.contestant, progress.layer)


def print_peaks() -> None:
    from statistics import median

    from bench.run import peak

    for dtype in ("float32", "float64"):
        samples = [sample for _ in range(20) for sample in peak(dtype, 0.02)]
        print(f"{dtype}: {median(samples):.1f} GFLOP/s, best {max(samples):.1f}" if samples else "tileconv is missing")


if __name__ == "__main__":
    main()
