"""What is seen while a run goes on: a bar on a terminal, a line for each finished layer elsewhere."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from bench.layers import Layer
from bench.report import gflops


class Progress:
    def __init__(self, total: int, console: Console) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        # Refreshed between layers and contestants only: a thread that draws would disturb what is timed.
        self.bar = RichProgress(*columns, console=console, auto_refresh=False, transient=True)
        self.task = self.bar.add_task("", total=total)
        self.total = total
        self.done = 0

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()

    def contestant(self, layer: Layer, name: str) -> None:
        self.bar.update(self.task, description=f"{layer.name}, {name}", refresh=True)

    def layer(self, record: dict[str, Any]) -> None:
        self.done += 1
        self.bar.update(self.task, completed=self.done, refresh=True)
        if not self.bar.console.is_terminal:
            speeds = {name: gflops(record, name) for name in record["results"]}
            text = "  ".join(f"{name} {speed:.1f}" for name, speed in speeds.items() if speed)
            print(f"{self.done}/{self.total} {record['name']}  {text} GFLOP/s", flush=True)
