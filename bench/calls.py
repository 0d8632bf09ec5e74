"""What a call costs where there is little to compute: `python -m bench.calls`, from the root of the repository."""

from bench.pin import parser, pin


def main() -> None:
    args = parser(__doc__, ("threads", "peers", "rounds", "seconds", "isa")).parse_args()
    pin(args.threads, args.isa)

    from bench.layers import Layer, load_suite
    from bench.report import cell, table, wide_console
    from bench.run import Settings, run, select_contestants

    # One multiplication an output: nothing but the call.
    layers = [*load_suite("toy.3x3"), Layer("tiny.1x1", "tiny", 1, 1, 4, 4, 1, 1, 1)]
    settings = Settings(args.threads, args.rounds, args.seconds)
    record = run(layers, select_contestants(args.peers), settings)
    result = table("microseconds a call, median and least of the rounds", "contestant")
    for layer in layers:
        result.add_column(layer.name, justify="right")
        result.add_column("least", justify="right", style="dim")
    for name, entry in record["contestants"].items():
        times = [layer["results"][name].get(key) for layer in record["layers"] for key in ("median", "min")]
        if any(times):
            result.add_row(f"{name} {entry['version']}", *(cell(time and time * 1e6) for time in times))
    wide_console().print(result)


if __name__ == "__main__":
    main()
