"""The FILE of `attend`: JSON lines, written one by one, and gone on with after a stop without doubles or torn lines.

FILE itself grows, so that it can be watched. Replacing a FILE writes `FILE.new` and renames it at the end.

The first line states, beside its image, what made all of them (`MADE_BY`): the name of the RUN, a hash of its
weights, and the settings. So a file is only gone on with by what began it.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from foveate.errors import BadInput
from foveate.storage.config import differences, flat
from foveate.storage.files import allowed_to, append_line, scan_lines, sync_folder, to_json, write_atomic
from foveate.storage.locks import hold

_BEGINNING = b'{"image": "'
"""How every line of results begins; a file that begins otherwise, even a torn one, is not ours to cut."""
MADE_BY = "foveate"  # the key of the first line under which it is stated what made the file
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


class Results:
    """The results of one `attend`, as a file, a pipe or stdout. Close it, or use it as a context manager.

    Args:
        path: A file, `-` or `/dev/stdout`, or any pipe or device.
        resume: Keep the whole lines that are there; `done` holds the `image` of each.
        overwrite: Replace the file, at the end.
        made_by: What makes the lines, as JSON has it: "run", "hash", "settings" and what else decides about them.

    Raises:
        BadInput: The file is there and neither was asked for, it holds something else or was started by something else,
            or another process writes it.
        CannotWrite: It can't be written.
    """

    def __init__(
        self, path: str, resume: bool = False, overwrite: bool = False, made_by: Mapping[str, Any] | None = None
    ):
        self.done: set[str] = set()
        self._made_by, self._begun = made_by, False
        self.streaming = path in STDOUT or (os.path.exists(path) and not os.path.isfile(path))
        self.target = self.path = Path(path)
        with allowed_to(f"write {path}"):
            if self.streaming:
                self._handle = sys.stdout.buffer if path in STDOUT else open(path, "wb", buffering=0)
            else:
                self._handle = self._file(resume, overwrite)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write the line of one image."""
        if self._made_by is not None and not self._begun:
            record = {**record, MADE_BY: self._made_by}
        append_line(self._handle, record)
        self._begun = True

    def records(self) -> Iterator[dict[str, Any]]:
        """Every line so far, read back; nothing where the results went into a pipe."""
        if not self.streaming:
            for record, _ in scan_lines(self.path):
                yield record

    def arrange(self, names: Iterable[str]) -> None:
        """Put the lines into the order of `names`, where they were written as they were done; others come last."""
        if self.streaming:
            return
        begin, places, first = 0, {}, {}
        for record, end in scan_lines(self.path):
            places[record["image"]] = (begin, end)
            first = first or record
            begin = end
        order = [places.pop(name) for name in names if name in places] + list(places.values())
        if order == sorted(order):
            return

        def rearranged(out: IO[bytes]) -> None:
            with open(self.path, "rb") as lines:
                for number, (begin, end) in enumerate(order):
                    lines.seek(begin)
                    line = lines.read(end - begin)
                    if MADE_BY in first and number == 0:
                        line = f"{to_json({**json.loads(line), MADE_BY: first[MADE_BY]})}\n".encode()
                    elif MADE_BY in first and begin == 0:
                        line = f"{to_json({name: first[name] for name in first if name != MADE_BY})}\n".encode()
                    out.write(line)

        write_atomic(self.path, rearranged)

    def finish(self) -> None:
        """All is written: make it last, and put it in its place."""
        if self.streaming:
            return
        with allowed_to(f"write {self.target}"):
            os.fsync(self._handle.fileno())
            if self.path != self.target:
                os.replace(self.path, self.target)
                self.path = self.target
            sync_folder(self.target.parent)

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._handle is not sys.stdout.buffer:
            self._handle.close()

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, failed: Any, *_: Any) -> None:
        if failed is not None and not self.streaming and os.fstat(self._handle.fileno()).st_size == 0:
            self.path.unlink(missing_ok=True)  # nothing has been done yet
        self.close()

    def _file(self, resume: bool, overwrite: bool) -> IO[bytes]:
        beside = self.target.with_name(f"{self.target.name}.new")
        replacing = overwrite and not resume and self.target.exists() and self.target.stat().st_size > 0
        if replacing or (resume and beside.exists()):
            self.path = beside
        handle = open(self.path, "ab", buffering=0)
        try:
            hold(handle, self.target)
            end = self._kept() if resume else 0
            self._begun = end > 0
            if not resume and not replacing and os.fstat(handle.fileno()).st_size > 0:
                raise BadInput(f"{self.target} exists: --resume continues it, --overwrite replaces it")
            os.ftruncate(handle.fileno(), end)
        except BaseException:
            handle.close()
            raise
        return handle

    def _kept(self) -> int:
        """Take in the whole lines that are there, and return where they end."""
        with open(self.path, "rb") as handle:
            head = handle.read(len(_BEGINNING))
        if not _BEGINNING.startswith(head):
            raise BadInput(f"{self.path}: not results of attend")
        end = 0
        for record, position in scan_lines(self.path):
            if not isinstance(record, dict) or not isinstance(record.get("image"), str):
                raise BadInput(f"{self.path}: not results of attend")
            if not self.done:
                self._agree(record.get(MADE_BY))
            self.done.add(record["image"])
            end = position
        return end

    def _agree(self, begun_by: Any) -> None:
        """Checks that what began the file is what goes on with it; files of older versions do not state it."""
        if self._made_by is None or not isinstance(begun_by, dict):
            return
        now = flat(json.loads(to_json(self._made_by)))
        was = flat({name: begun_by.get(name) for name in self._made_by})
        runs = [f"the RUN {each.get('run')} ({each.get('hash')})" for each in (was, now)]
        for line in differences(was, now):
            differs = line if runs[0] == runs[1] else f"{runs[0]}, not {runs[1]}"
            raise BadInput(f"{self.target} was started with {differs}: --overwrite begins anew")
