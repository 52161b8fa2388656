"""What the benchmarks of speed print, and leave for `collect.py`: who took how long, beside the floor and beside us."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parser(doc: str) -> argparse.ArgumentParser:
    """The options that every benchmark of speed has.

    Args:
        doc: Of the module.
    """
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="few rounds, small sizes: to see that it runs")
    made.add_argument("--json", type=Path, help="file for the figures as JSON")
    return made


class Figures:
    """Tables of one benchmark, printed as they come.

    Args:
        name: Of the benchmark.
        out: File for the figures as JSON, if any.
    """

    def __init__(self, name: str, out: Path | None):
        self.name, self.out = name, out
        self.tables: list[dict[str, Any]] = []

    def table(
        self,
        title: str,
        unit: str,
        values: Mapping[str, float],
        ours: str,
        floor: str | None = None,
        claim: str = "",
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Print who took how long, and the ratios.

        Args:
            title: The work, its size, and how it was measured.
            unit: Of the values.
            values: By contender; less is better.
            ours: Which contender is foveate.
            floor: Which one is what the hardware allows.
            claim: What is expected of the ratios.
            notes: More about a contender.
        """
        notes = notes or {}
        table = {"title": title, "unit": unit, "ours": ours, "floor": floor, "claim": claim, "values": dict(values)}
        self.tables.append({**table, "notes": dict(notes)})
        print(f"{title}\n{'':36}{unit:>14}{'x floor':>9}{'x ours':>8}")
        for name, value in values.items():
            beside_floor = f"{value / values[floor]:9.2f}" if floor else f"{'':9}"
            print(f"{name:36}{value:14.4g}{beside_floor}{value / values[ours]:8.2f}  {notes.get(name, '')}".rstrip())
        print(flush=True)

    def close(self) -> None:
        """Write the file."""
        if self.out is not None:
            self.out.write_text(json.dumps({"name": self.name, "tables": self.tables}, indent=1) + "\n")
