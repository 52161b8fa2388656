"""Runs that die, disks that fill up, folders that may not be written: is anything lost?

Tiny scenes of digits; the program as a user runs it, in processes of its own. Each line of the table says what was done
to it, how often, and how often it came out as promised: the same weights and the same results, to the last bit, as if
nothing had happened.

    python benchmarks/faults.py                    # 30 trainings, 10 learnings, 30 attends, 20 claims
    python benchmarks/faults.py --trainings 3 --learnings 3 --attends 3 --claims 3
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fault_tools import ENVIRONMENT, Row, disk, finished, foveate, must, promised, stop

SOURCE = Path(__file__).resolve().parent.parent / "src"
MODELS = ("gdbn.safetensors", "shiftnet.safetensors", "background.safetensors")
TINY = {
    "largest": 96,
    "gdbn.n_hidden1": 24,
    "gdbn.n_hidden2": 16,
    "gdbn.first.epochs": 3,
    "gdbn.second.epochs": 3,
    "gdbn.save_every": 1,
    "shiftnet.steps": 8,
    "fine.steps": 6,
    "fine.batch": 8,
    "fine.checkpoint_every": 2,
    "shiftnet.batch": 8,
    "shiftnet.report_every": 1,
    "shiftnet.checkpoint_every": 2,
    "ranking.scenes": 10,
    "ranking.mosaics": 4,
    "ranking.held_out_mosaics": 2,
    "ranking.held_out_clutter": 1,
    "periphery.steps": 6,
    "periphery.patches": 8,
    "periphery.checkpoint_every": 2,
    "attend.max_gazes": 2,
    "search.most": 8,
    "posterior.warm_up": 4,
    "posterior.draws": 6,
}
"""A training of seconds, with a checkpoint at nearly every step."""
LESSONS = {
    **TINY,
    "posterior.chains": 0,
    **{"shiftnet_steps": 6, "fine_steps": 4, "periphery_steps": 4, "tolerance": 1e9, "trust.probability": 0.0},
    **{"trust.centre": 1e9, "trust.log_scale": 1e9, "trust.angle": 1e9, "trust.negligible": 0.0, "trust.fewest": 4},
}
"""Learning of seconds, from whatever was found."""


def training(scenes: Path, out: Path) -> list[object]:
    """The words of a tiny training."""
    return ["train", scenes, "--out", out, "--preset", "quick", *_set(TINY)]


def learning(run: Path, scenes: Path, out: Path) -> list[object]:
    """The words of tiny learning."""
    return ["learn", run, scenes, "--out", out, "--preset", "quick", *_set(LESSONS)]


def _set(settings: dict[str, float]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def weights(run: Path) -> dict[str, bytes]:
    """The models of a run, as bytes."""
    return {name: (run / name).read_bytes() for name in MODELS}


def records(run: Path) -> list[dict]:
    """What training logged, without what tells the time."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if "seconds" not in name} for line in lines]


def phase(run: Path) -> str:
    """Where a run was when it died, by its newest checkpoint."""
    found = sorted((run / "checkpoint").rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    return f"after {found[-1].stem}" if found else "before the first checkpoint"


def trainings(
    words: list[object], run: Path, reference: Path, seconds: float, count: int, rng: random.Random
) -> Iterator[Row]:
    """Trainings (or learnings) of `run` stopped one to three times at random moments, and resumed."""
    expected, log = weights(reference), records(reference)
    for numbers in ((signal.SIGKILL,), (signal.SIGTERM, signal.SIGINT)):
        row = Row(f"{words[0]}, {' or '.join(number.name for number in numbers)} at random moments, resumed")
        wanted = count * 2 // 3 if numbers[0] == signal.SIGKILL else count - count * 2 // 3
        while row.runs < wanted:
            good, slowest, places, statuses = True, 0.0, [], []
            for _ in range(rng.choice((1, 1, 2, 3))):
                number = rng.choice(numbers)
                status, took = stop(foveate(*words, "--resume"), number, rng.uniform(0.2, seconds))
                good &= promised(status, number)
                statuses.append(f"{number.name} {status}")
                slowest = max(slowest, took if number != signal.SIGKILL else 0.0)
                if status not in (None, 0):
                    places.append(phase(run))
            if not places:  # it had ended before any signal came, which shows nothing: not counted
                shutil.rmtree(run)
                continue
            must(*words, "--resume")
            kept = {"weights": weights(run) == expected, "log": records(run) == log, "status": good}
            wrong = [f"{what} differs" for what, right in kept.items() if not right]
            wrong += [] if good else statuses
            row.add(not wrong, ", ".join([places[-1], *wrong]), slowest)
            shutil.rmtree(run)
        yield row


def attends(folder: Path, images: Path, run: Path, count: int, rng: random.Random) -> Row:
    """`attend` killed at random moments and resumed."""
    began = time.monotonic()
    must("attend", run, images, "--out", folder / "whole.jsonl", *FOUND)
    seconds = time.monotonic() - began
    expected = (folder / "whole.jsonl").read_bytes()
    row = Row("attend, SIGKILL, SIGTERM or SIGINT at random, resumed")
    while row.runs < count:
        out, good, slowest = folder / "o.jsonl", True, 0.0
        number = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        child = foveate("attend", run, images, "--out", out, "--resume", *FOUND)
        status, took = stop(child, number, rng.uniform(0.3, 1.0) * seconds)
        if status in (None, 0):  # it had ended before the signal came, which shows nothing: not counted
            out.unlink()
            continue
        good = promised(status, number)
        lines = out.read_bytes().count(b"\n") if out.exists() else 0
        must("attend", run, images, "--out", out, "--resume", *FOUND)
        slowest = took if number != signal.SIGKILL else 0.0
        same = out.read_bytes() == expected
        wrong = ([] if good else [f"{number.name} {status}"]) + ([] if same else ["lines differ"])
        row.add(not wrong, ", ".join(["with no line yet" if lines == 0 else "amid the lines", *wrong]), slowest)
        out.unlink()
    return row


FOUND = [
    *("--min-probability", "0", "--max-gazes", "2", "--set", "search.most=8"),
    *("--set", "posterior.warm_up=4", "--set", "posterior.draws=6"),
]
"""A quick search that finds something in every image."""


def full_disks(folder: Path, scenes: Path, images: Path, reference: Path) -> Iterator[Row]:
    """Disks that fill up during `train` and `attend`, and are then enlarged."""
    row = Row("training on a disk of 20 MB that fills up, enlarged, resumed")
    with disk(folder / "small", "20m") as remount:
        run = folder / "small" / "run"
        status, said = finished(*training(scenes, run))
        told = status == 2 and "no space left on device" in said
        remount("size=800m")
        must(*training(scenes, run), "--resume")
        row.add(told and weights(run) == weights(reference), said)
    yield row
    row = Row("attend on a disk that fills up, enlarged, resumed")
    with disk(folder / "small2", "8k") as remount:
        out = folder / "small2" / "o.jsonl"
        status, said = finished("attend", reference, images, "--out", out, *FOUND)
        told = status == 2 and "no space left on device" in said
        remount("size=10m")
        must("attend", reference, images, "--out", out, "--resume", *FOUND)
        row.add(told and out.read_bytes() == (folder / "whole.jsonl").read_bytes(), said)
    yield row


def read_only(folder: Path, scenes: Path, images: Path, reference: Path) -> Iterator[Row]:
    """Folders that may not be written: what needs no writing works, the rest is one line."""
    with disk(folder / "fixed", "800m") as remount:
        fixed = folder / "fixed"
        shutil.copytree(reference, fixed / "run")
        shutil.copytree(scenes, fixed / "scenes")
        remount("ro")
        row = Row("writing into a read-only folder is one line, status 2")
        for words in (
            training(scenes, fixed / "new"),
            [*training(scenes, fixed / "run"), "--overwrite"],
            ["attend", reference, images, "--out", fixed / "o.jsonl"],
            ["attend", reference, images, "--out", folder / "p.jsonl", "--crops", fixed / "crops"],
            ["sample", reference, "--out", fixed / "s.png", "--steps", "2"],
            ["report", fixed / "run"],
        ):
            status, said = finished(*words)
            row.add(status == 2 and "read-only" in said, words[0])
        yield row
        row = Row("reading from read-only folders works")
        for words in (
            ["attend", fixed / "run", fixed / "scenes", "--out", folder / "q.jsonl", *FOUND],
            ["evaluate", "localization", fixed / "run", fixed / "scenes"],
            ["sample", fixed / "run", "--out", folder / "s.png", "--steps", "2"],
            training(fixed / "scenes", folder / "from-fixed"),
        ):
            status, said = finished(*words)
            row.add(status == 0, words[0])
        yield row


def claims(folder: Path, scenes: Path, count: int) -> Row:
    """Two processes that want one RUN at the same moment."""
    row = Row("two processes on one RUN: exactly one wins")
    for number in range(count):
        run = folder / f"claimed-{number}"
        both = [foveate(*training(scenes, run)) for _ in range(2)]
        while all(child.poll() is None for child in both):
            time.sleep(0.02)
        loser, winner = sorted(both, key=lambda child: child.poll() is None)
        _, said = loser.communicate()
        refused = loser.returncode == 2 and said.count("\n") == 1
        at_work = winner.poll() is None
        winner.send_signal(signal.SIGTERM)
        winner.communicate()
        row.add(refused and at_work and winner.returncode == 143, said.strip().split(": ")[-1])
    return row


def main() -> int:
    """Prints the table; status 1 if anything came out otherwise than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=30)
    parser.add_argument("--learnings", type=int, default=10)
    parser.add_argument("--attends", type=int, default=30)
    parser.add_argument("--claims", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    # a shell that starts us in the background has INT ignored, and children would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = random.Random(asked.seed)
    sys.path.insert(0, str(SOURCE))
    from foveate.demo.digits import write_digit_scenes

    with tempfile.TemporaryDirectory(prefix="foveate-faults-") as name:
        folder = Path(name)
        # a copy of the code: all runs are of one version, whatever is edited meanwhile
        shutil.copytree(SOURCE, folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        ENVIRONMENT["PYTHONPATH"] = str(folder / "src")
        write_digit_scenes(folder / "scenes", (0, 1, 2), 40, asked.seed)
        scenes, images, reference = folder / "scenes", folder / "scenes" / "images", folder / "reference"
        must(*training(scenes, folder / "warm-up"))  # compiles the loops, so that the next one tells how long it takes
        began = time.monotonic()
        must(*training(scenes, reference))
        seconds = time.monotonic() - began
        print(f"one training takes {seconds:.1f} s", file=sys.stderr)
        rows = [Row("training again gives the same weights")]
        same = weights(folder / "warm-up") == weights(reference) and records(folder / "warm-up") == records(reference)
        rows[0].add(same)
        run = folder / "run"
        rows += trainings(training(scenes, run), run, reference, seconds, asked.trainings, rng)
        write_digit_scenes(folder / "new", (3, 4), 20, asked.seed)
        began, lesson = time.monotonic(), folder / "lesson"
        must(*learning(reference, folder / "new", lesson))
        words = learning(reference, folder / "new", run)
        rows += trainings(words, run, lesson, time.monotonic() - began, asked.learnings, rng)
        rows.append(attends(folder, images, reference, asked.attends, rng))
        if os.geteuid() == 0:
            rows += full_disks(folder, scenes, images, reference)
            rows += read_only(folder, scenes, images, reference)
        else:
            print("small and read-only disks are left out: only root may mount them", file=sys.stderr)
        rows.append(claims(folder, scenes, asked.claims))
    print("\n".join(map(str, rows)))
    return int(any(row.good < row.runs for row in rows))


if __name__ == "__main__":
    sys.exit(main())
