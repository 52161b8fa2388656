"""A RUN: the folder that one training leaves behind.

    config.toml             all that is needed to do it again: command, seed, version, scenes, settings
    gdbn.safetensors, periphery.safetensors, shiftnet.safetensors, background.safetensors
    metrics.jsonl           a record a line, as training went by
    story/                  what the page is made from
    report.html, README.md  for people: the page, and the model's card
    checkpoint/             to resume, and the lock of the process at work

A run is claimed by exclusive creation, and held by a lock that the system lets go however its process dies. Replacing a
run builds the new one beside it (`.NAME.new`) and swaps the two when the new one is whole.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from foveate.errors import BadInput
from foveate.storage.checkpoints import Checkpoints
from foveate.storage.config import read_config, write_toml
from foveate.storage.files import allowed_to, append_line, scan_lines, to_json
from foveate.storage.locks import exchange, lock

Made = TypeVar("Made")

CONFIG = "config.toml"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint"
STORY = "story"
WHOLE = "whole"  # the checkpoint that says that the run has ended well
MODELS = ("gdbn.safetensors", "shiftnet.safetensors", "background.safetensors")
PERIPHERY = "periphery.safetensors"  # of the models too, but runs of older versions are whole without it
PAPER = "paper.safetensors"  # of a RUN of `train --paper`: where the paper's inference sets out
_OURS = {PERIPHERY, PAPER, CONFIG, METRICS, CHECKPOINT, STORY, "report.html", "README.md", *MODELS}


class Run:
    """One RUN folder; made by `claim` (to write) or `open` (to read).

    As a context manager a claimed run lets go of its lock at the end; if it ends badly before there was anything to
    resume from, nothing of it stays. Its files are at `path`, and will be at `target`: the same, but for a run that is
    to replace another.
    """

    def __init__(self, path: Path, target: Path | None = None, lock_file: IO | None = None):
        self.path, self.target = path, target or path
        self.checkpoints = Checkpoints(path / CHECKPOINT, self._log_end)
        self._lock_file = lock_file
        self._metrics: IO | None = None
        self._before: Counter[str] = Counter()

    @classmethod
    def claim(cls, path: str | os.PathLike, overwrite: bool = False, resume: bool = False) -> "Run":
        """Take a folder to write a run into; of several processes exactly one gets it.

        Args:
            path: The folder; its parents are made.
            overwrite: Replace the run that is there, once the new one is whole.
            resume: Go on with what an earlier process left.

        Raises:
            BadInput: It exists and neither was asked for, it is no run, or another process is using it.
            CannotWrite: The folder can't be made.
        """
        target = Path(path)
        with allowed_to(f"make {path}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and not target.is_dir():
                raise BadInput(f"{target} exists and is not a folder")
            target.mkdir(exist_ok=True)
            if any(target.iterdir()):
                if not (overwrite or resume):
                    raise BadInput(f"{target} exists: --resume continues it, --overwrite replaces it")
                _refuse_strangers(target)
            return cls._arrange(target, lock(target / CHECKPOINT, target), overwrite, resume)

    @classmethod
    def _arrange(cls, target: Path, held: IO, overwrite: bool, resume: bool) -> "Run":
        """With the lock in hand, find out what is to be done: begin, go on, or replace."""
        beside = target.parent / f".{target.name}.new"
        begun = (target / CONFIG).exists()
        if resume and beside.exists():
            run = cls(beside, target, held)
        elif begun and overwrite and not (resume and not is_whole(target)):
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            run = cls(beside, target, held)
        elif begun and not resume:
            held.close()
            raise BadInput(f"{target} exists: another process has just started it")
        else:
            run = cls(target, target, held)
        run._take_up_log()
        return run

    @classmethod
    def open(cls, path: str | os.PathLike, needs: tuple[str, ...] = MODELS) -> "Run":
        """A run to read.

        Raises:
            BadInput: The folder isn't there, or one of the files that it `needs`.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise BadInput(f"{path}: not a RUN folder" if folder.exists() else f"{path}: no such RUN folder")
        for name in needs:
            if not (folder / name).is_file():
                begun = (folder / CONFIG).is_file()
                raise BadInput(f"{path}: no {name} in it" + (", the run is unfinished: see --resume" if begun else ""))
        return cls(folder)

    @property
    def begun(self) -> bool:
        """Whether its configuration has been written."""
        return (self.path / CONFIG).exists()

    @property
    def whole(self) -> bool:
        """Whether the run has ended well."""
        return is_whole(self.path)

    @property
    def story(self) -> Path:
        """The folder of what the page is made from."""
        return self.path / STORY

    @property
    def config(self) -> dict[str, Any]:
        """What `write_config` was given, empty where there is none; raises as `read_config` does."""
        return read_config(self.path / CONFIG) if self.begun else {}

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.toml; entries that are None are left out, as TOML has no word for them."""
        write_toml(self.path / CONFIG, config)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a record to metrics.jsonl; one of an earlier process that comes again word for word is not doubled.

        Records written after the last checkpoint are dropped when the run is resumed: they will be written again.
        """
        line = to_json(record)
        if self._before[line] > 0:
            self._before[line] -= 1
            return
        if self._metrics is None:
            with allowed_to(f"write {self.path / METRICS}"):
                self._metrics = open(self.path / METRICS, "ab", buffering=0)
        append_line(self._metrics, record)

    def begin(self, config: Mapping[str, Any]) -> None:
        """Write a new run's configuration; `BadInput` unless one that is resumed has the same folders and scenes."""
        if not self.begun:
            self.write_config(config)
        kept = self.config
        for name in ("scenes", "run", "images", "objects", "replay_images"):
            if name in kept and kept[name] != config.get(name):
                now = config.get(name)
                raise BadInput(f"{self.target} was started with {name} = {kept[name]!r}, now it is {now!r}")

    def complete(
        self, work: Callable[["Run"], Made], story: Callable[[Path, Made], Any], page: Callable[[Path], Any]
    ) -> Made:
        """Takes a run that has begun to its end, and returns what `work` does, which makes the models and saves them;
        `story` saves what the page shows of that in a folder, `page` makes the page."""
        made = work(self)
        self.story.mkdir(exist_ok=True)
        story(self.story, made)
        self.finish()
        page(self.path)
        return made

    def weights_hash(self) -> str:
        """A name for what the run has learned: BLAKE2 of its safetensors files."""
        digest = hashlib.blake2b(digest_size=8)
        for path in sorted(self.path.glob("*.safetensors")):
            digest.update(path.name.encode())
            with open(path, "rb") as handle:
                while part := handle.read(2**20):
                    digest.update(part)
        return digest.hexdigest()

    def finish(self) -> None:
        """Mark the run as whole, and put it in its place."""
        self.checkpoints.finish(WHOLE, {})
        self._close_log()
        if self.path != self.target:
            with allowed_to(f"put {self.path} in the place of {self.target}"):
                exchange(self.path, self.target)
            shutil.rmtree(self.path, ignore_errors=True)
            self.path = self.target
            self.checkpoints = Checkpoints(self.path / CHECKPOINT, self._log_end)

    def release(self) -> None:
        """Let go of the lock."""
        self._close_log()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None and self._lock_file is not None and self.checkpoints.empty():
            self._close_log()
            shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def _log_end(self) -> int:
        """The length of the log, after making sure that this much of it outlives a power cut."""
        if self._metrics is None:
            path = self.path / METRICS
            return path.stat().st_size if path.exists() else 0
        os.fsync(self._metrics.fileno())
        return self._metrics.seek(0, os.SEEK_END)

    def _take_up_log(self) -> None:
        """Drop what the last checkpoint doesn't know of, and a torn line in any case; remember the rest."""
        path = self.path / METRICS
        if not path.exists():
            return
        last = self.checkpoints.log_end()
        length = 0
        for record, end in scan_lines(path):
            if last is None or end <= last:
                self._before[to_json(record)] += 1
                length = end
        os.truncate(path, length)

    def _close_log(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None


def is_whole(path: Path) -> bool:
    """Whether a folder holds a run that has ended well; one copied without its checkpoints is judged by its models."""
    checkpoints = Checkpoints(path / CHECKPOINT)
    return checkpoints.done(WHOLE) if not checkpoints.empty() else all((path / name).is_file() for name in MODELS)


def _refuse_strangers(path: Path) -> None:
    """Never write into, or replace, a folder that is not a run."""
    strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in _OURS)
    if strangers and not (path / CONFIG).exists():
        raise BadInput(f"{path} exists and is not a RUN (it contains {strangers[0]})")
