"""What the benchmarks that train models have in common: rows kept as a whole, rounded, and their means."""

import importlib.metadata
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from speed import processor

Row = dict[str, Any]


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What this JSON file holds; where there is none it is made first, and written as a whole or not at all."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(make()))
        part.replace(path)
    return json.loads(path.read_text())


def over_seeds(values: list[float]) -> tuple[float, float]:
    """Their mean, and its standard error."""
    return statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5


def rounded(value: Any) -> Any:
    """All floats within, to four decimals."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def machine() -> Row:
    """What a figure was computed with."""
    version = importlib.metadata.version("torch").partition("+")[0]
    return {"processor": processor(), "threads": torch.get_num_threads(), "torch": version}
