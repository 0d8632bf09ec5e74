"""Error of every algorithm on every layer: `python -m bench.accuracy`, from the root of the repository."""

from bench.pin import parser, pin

LIMIT = {"float32": 1e-5, "float64": 1e-13}
"""What 'auto' promises."""


def main() -> None:
    options = parser(__doc__, ("pass", "layers", "threads", "isa"))
    options.add_argument("--dtype", choices=tuple(LIMIT), help="default: both")
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

    def error(contestant: Contestant, layer: Layer, dtype: str) -> str:
        case = make_case(layer, args.pass_, np.dtype(dtype))
        try:
            (call,) = contestant.prepare(case, args.threads).values()
        except Unsupported:
            return "-"
        value = relative_error(contestant.to_numpy(call()), reference(case))
        return f"[{'red' if value > LIMIT[dtype] else 'default'}]{value:.1e}[/]"

    rows = [ours.Tileconv(), *ours.algorithms()]
    dtypes = (args.dtype,) if args.dtype else tuple(LIMIT)
    columns = [(contestant, dtype) for dtype in dtypes for contestant in rows]
    titles = ["auto" if c.name == ours.Tileconv.name else c.name.partition(":")[2] for c, _ in columns]
    console = wide_console()
    result = table(
        "max|y - y64| / max|y64|, red above the promise of 'auto'",
        "layer",
        *(f"{title}_{dtype}" for title, (_, dtype) in zip(titles, columns, strict=True)),
    )
    for layer in track(load_suite(args.layers, args.pass_), "layers", console=console, transient=True):
        result.add_row(layer.name, *(error(contestant, layer, dtype) for contestant, dtype in columns))
    console.print(result)


if __name__ == "__main__":
    main()
