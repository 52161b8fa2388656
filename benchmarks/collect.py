"""Runs the benchmarks one after another, and writes what they say into benchmarks/README.md, with the machine named.

    python benchmarks/collect.py                   # everything at full size: an hour or so on a quiet machine
    python benchmarks/collect.py --quick           # smallest sizes: that all of them run
    python benchmarks/collect.py --only ais pcd --write

Without --write nothing but stdout is written to. A file that is not run again keeps its figures in the README.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README, FIGURES = HERE / "README.md", HERE / "figures.json"
BUSY = 0.5
"""Load of the machine before a benchmark begins, from which its figures are said to be measured beside other work."""

SPEED = ("ais", "pcd", "hmc", "shiftnet", "attend")
"""Benchmarks whose figures are tables of contenders, written as JSON."""
OTHERS = {
    "memory": ["--quick"],
    "sbc": ["40"],
    "check_folder": ["--images", "200"],
    "fuzz_reading": ["--annotations", "200", "--pictures", "60"],
    "faults": ["--trainings", "3", "--learnings", "3", "--attends", "3", "--claims", "2"],
}
"""Benchmarks that print a table of their own, and their words for a quick run."""


def machine() -> str:
    """Processor, cores, memory, versions."""
    import numba
    import torch

    named = re.search(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    parts = [
        named[1] if named else platform.processor() or platform.machine(),
        f"{os.cpu_count()} cores",
        f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        f"Python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}",
    ]
    return "; ".join(part for part in parts if part)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def run(name: str, quick: bool, more: list[str]) -> dict[str, Any]:
    """Run one benchmark, let it print, and tell what it said.

    Raises:
        SystemExit: It failed.
    """
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    entry: dict[str, Any] = {"date": date.today().isoformat(), "machine": machine(), "quick": quick, "load": load}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        words = more + (["--quick"] if quick else []) if name in SPEED else OTHERS[name] if quick else []
        words += ["--json", str(out)] if name in SPEED else []
        command = [sys.executable, str(HERE / f"{name}.py"), *words]
        begun = time.monotonic()
        print(f"== {name}", flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        if done.returncode != 0:
            raise SystemExit(f"{name}: status {done.returncode}")
        entry["seconds"] = round(time.monotonic() - begun)
        entry["tables"] = json.loads(out.read_text())["tables"] if out.exists() else None
        entry["text"] = done.stdout.strip()
    return entry


def rows(table: dict[str, Any]) -> list[str]:
    """A table of contenders as lines of Markdown."""
    values, ours, floor = table["values"], table["ours"], table["floor"]
    lines = [f"{table['title']}.", ""]
    lines += [f"| | {table['unit']} | processor | x floor | x ours | |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    for name, value in values.items():
        beside_floor = f"{value / values[floor]:.2f}" if floor else ""
        shown = f"**{name}**" if name == ours else name
        spent = f"{table['processor'][name]:.4g}" if name in table["processor"] else ""
        note = table["notes"].get(name, "")
        lines.append(f"| {shown} | {value:.4g} | {spent} | {beside_floor} | {value / values[ours]:.2f} | {note} |")
    claims = [f"- {line}" for line in table["claims"]]
    return [*lines, *(["", "Claims:", "", *claims] if claims else []), ""]


def section(name: str, entry: dict[str, Any]) -> list[str]:
    """What the README says of one benchmark."""
    how = [entry["machine"], entry["date"], f"{entry['seconds']} s"]
    how += ["quick: smallest sizes"] if entry["quick"] else []
    how += ["**measured beside other work**"] if entry["load"] > BUSY else []
    lines = [f"## {name}", "", "; ".join(how) + ".", ""]
    if entry["tables"]:
        return lines + [line for table in entry["tables"] for line in rows(table)]
    return [*lines, "```text", entry["text"], "```", ""]


def write(entries: dict[str, Any]) -> None:
    """Replace what stands between the README's marks."""
    head, mark, _ = README.read_text(encoding="utf-8").partition("<!-- figures -->\n")
    order = [name for name in (*SPEED, *OTHERS) if name in entries]
    lines = [line for name in order for line in section(name, entries[name])]
    README.write_text(head + mark + "\n" + "\n".join(lines), encoding="utf-8")
    FIGURES.write_text(json.dumps(entries, indent=1) + "\n")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true")
    asked.add_argument("--only", nargs="+", choices=[*SPEED, *OTHERS], default=[*SPEED, *OTHERS])
    asked.add_argument("--write", action="store_true", help="write benchmarks/README.md")
    asked.add_argument("--run", help="a RUN for attend; one that has learned nothing by default")
    asked.add_argument("--photographs", help="a folder of photographs for attend")
    options = asked.parse_args()
    entries = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    given = {"--run": options.run, "--photographs": options.photographs}
    for name in options.only:
        more = [word for flag, value in given.items() if value for word in (flag, value)] if name == "attend" else []
        entries[name] = run(name, options.quick, more)
        if options.write:
            write(entries)


if __name__ == "__main__":
    main()
