"""What the benchmarks of speed share: contenders that take turns, and what is printed and left for `collect.py`."""

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Measured(NamedTuple):
    """Seconds by the clock and of the processor, and what the work itself has to say."""

    clock: float
    processor: float
    said: str = ""


Contender = Callable[[], Measured]


class Claim(NamedTuple):
    """`who` takes at most (or at least) `ratio` times as long as the contender `beside`."""

    who: str
    limit: str  # "at most" or "at least"
    ratio: float
    beside: str


def parser(doc: str) -> argparse.ArgumentParser:
    """The options that every benchmark of speed has."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="few rounds, small sizes: to see that it runs")
    made.add_argument("--json", type=Path, help="file for the figures as JSON")
    return made


def timed(work: Callable[[], Any]) -> Contender:
    """Work in this process, with as many threads as it uses by itself."""

    def once() -> Measured:
        clock, processor = time.perf_counter(), time.process_time()
        said = work()
        return Measured(time.perf_counter() - clock, time.process_time() - processor, said or "")

    return once


PEER = """
import sys, time
for line in sys.stdin:
    clock, processor = time.perf_counter(), time.process_time()
    said = work()
    print(time.perf_counter() - clock, time.process_time() - processor, said or "", flush=True)
"""


def peer(python: str, program: str, *arguments: str | Path) -> Contender | None:
    """A program that defines `work`, in a Python of its own, with as many threads as it uses there; None if it can't
    run."""
    child = subprocess.Popen(
        [python, "-c", program + PEER, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    asked, answered = child.stdin, child.stdout

    def once() -> Measured:
        asked.write("go\n")
        asked.flush()
        clock, processor, *said = answered.readline().split(maxsplit=2)
        return Measured(float(clock), float(processor), "".join(said).strip())

    try:
        once()
    except (ValueError, BrokenPipeError):
        return None
    return once


def peers(found: Mapping[str, Contender | None]) -> dict[str, Contender]:
    """Those that can run; the others are named."""
    for name in [name for name, once in found.items() if once is None]:
        print(f"{name}: left out, {os.environ.get('FOVEATE_PEERS', 'no FOVEATE_PEERS')} can't run it")
    return {name: once for name, once in found.items() if once is not None}


def in_turns(contenders: Mapping[str, Contender], rounds: int) -> dict[str, Measured]:
    """Medians of each, one after the other in every round; the first round, which compiles, is not counted."""
    found: dict[str, list[Measured]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, once in contenders.items():
            measured = once()
            if number:
                found[name].append(measured)
    return {
        name: Measured(*(statistics.median(each[k] for each in every) for k in (0, 1)), every[-1].said)
        for name, every in found.items()
    }


def outcomes(claims: Sequence[Claim], values: Mapping[str, float]) -> list[str]:
    """What the figures say of each claim whose contenders took part."""
    lines = []
    for who, limit, ratio, beside in claims:
        if who in values and beside in values:
            found = values[who] / values[beside]
            met = found <= ratio if limit == "at most" else found >= ratio
            lines.append(f"{who}, {limit} {ratio:g} x {beside}: {found:.2f}, {'met' if met else 'not met'}")
    return lines


class Figures:
    """Tables of the benchmark `name`, printed as they come, and written to the file `out` as JSON if there is one."""

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
        claims: Sequence[Claim] = (),
        processor: Mapping[str, float] | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> None:
        """Print who took how long, the ratios, and what that says of the claims.

        Args:
            title: The work, its size, and how it was measured.
            unit: Of the values.
            values: By contender; less is better.
            ours: Which contender is foveate.
            floor: Which one is what the hardware allows.
            claims: What is claimed of the ratios of the values.
            processor: Time of the processor in the same unit, where values are by the clock.
            notes: More about a contender.
        """
        notes, processor, said = notes or {}, processor or {}, outcomes(claims, values)
        table = {"title": title, "unit": unit, "ours": ours, "floor": floor, "claims": said, "values": dict(values)}
        self.tables.append({**table, "processor": dict(processor), "notes": dict(notes)})
        print(f"{title}\n{'':36}{unit:>14}{'processor' if processor else '':>10}{'x floor':>9}{'x ours':>8}")
        for name, value in values.items():
            spent = f"{processor[name]:10.4g}" if name in processor else f"{'':10}"
            beside_floor = f"{value / values[floor]:9.2f}" if floor else f"{'':9}"
            ratios = f"{spent}{beside_floor}{value / values[ours]:8.2f}"
            print(f"{name:36}{value:14.4g}{ratios}  {notes.get(name, '')}".rstrip())
        for line in said:
            print(f"claim: {line}")
        print(flush=True)

    def turns(
        self,
        title: str,
        unit: str,
        per_second: float,
        contenders: Mapping[str, Contender],
        rounds: int,
        ours: str,
        floor: str | None = None,
        claims: Sequence[Claim] = (),
    ) -> None:
        """`in_turns`, and the table of it: times by the clock, `per_second` of the unit to a second."""
        found = in_turns(contenders, rounds)
        values, processor = ({name: per_second * each[k] for name, each in found.items()} for k in (0, 1))
        notes = {name: each.said for name, each in found.items()}
        self.table(f"{title}, {rounds} rounds", unit, values, ours, floor, claims, processor, notes)

    def close(self) -> None:
        """Write the file."""
        if self.out is not None:
            self.out.write_text(json.dumps({"name": self.name, "tables": self.tables}, indent=1) + "\n")
