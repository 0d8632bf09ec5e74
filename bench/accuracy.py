"""Error of every algorithm on every layer: `python -m bench.accuracy`, from the root of the repository."""

from pathlib import Path

from bench.pin import parser, pin

LIMIT = {"float32": 1e-5, "float64": 1e-13}
"""What 'auto' promises."""

TEXT = """# Accuracy

max|y - y64| / max|y64| of every algorithm on every layer of the bench, y64 being a float64 reference in NumPy: input
N(0, 1), weights N(0, 1/fan_in). 'auto' promises at most 1e-5 for float32 and 1e-13 for float64. `-`: the algorithm does
not support the layer. Written by `python -m bench.accuracy --markdown docs/accuracy.md`.

"""


def main() -> None:
    options = parser(__doc__, ("pass", "layers", "threads", "isa"))
    options.add_argument("--dtype", choices=tuple(LIMIT), help="default: both")
    options.add_argument("--markdown", metavar="FILE", help="write the table here too")
    args = options.parse_args()
    pin(args.threads, args.isa)

    import numpy as np
    from rich.progress import track

    from bench import ours
    from bench.case import make_case
    from bench.contestant import Contestant, Unsupported
    from bench.layers import Layer, load_suite
    from bench.reference import reference, relative_error
    from bench.report import table, wide_console

    def error(contestant: Contestant, layer: Layer, dtype: str) -> float | None:
        case = make_case(layer, args.pass_, np.dtype(dtype))
        try:
            (call,) = contestant.prepare(case, args.threads).values()
        except Unsupported:
            return None
        return relative_error(contestant.to_numpy(call()), reference(case))

    def colored(value: float | None, dtype: str) -> str:
        return "-" if value is None else f"[{'red' if value > LIMIT[dtype] else 'default'}]{value:.1e}[/]"

    rows = [ours.Tileconv(), *ours.algorithms()]
    dtypes = (args.dtype,) if args.dtype else tuple(LIMIT)
    columns = [(contestant, dtype) for dtype in dtypes for contestant in rows]
    titles = ["auto" if c.name == ours.Tileconv.name else c.name.partition(":")[2] for c, _ in columns]
    console = wide_console()
    names = [f"{title}_{dtype}" for title, (_, dtype) in zip(titles, columns, strict=True)]
    result = table("max|y - y64| / max|y64|, red above the promise of 'auto'", "layer", *names)
    lines = [["layer", *(name.replace("_", " ") for name in names)], ["---"] * (1 + len(names))]
    for layer in track(load_suite(args.layers, args.pass_), "layers", console=console, transient=True):
        errors = [error(contestant, layer, dtype) for contestant, dtype in columns]
        result.add_row(layer.name, *(colored(value, dtype) for value, (_, dtype) in zip(errors, columns, strict=True)))
        lines.append([layer.name, *("-" if value is None else f"{value:.1e}" for value in errors)])
    console.print(result)
    if args.markdown:
        Path(args.markdown).write_text(TEXT + "".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
