"""Files that are whole or not there: atomic writing, strict JSON, JSON lines, tensors.

Nothing here unpickles anything: tensors are safetensors, everything else is JSON or TOML.
"""

import errno
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from foveate.errors import BadInput, FoveateError, one_line

if TYPE_CHECKING:  # torch takes a second to import, and most of this file never needs it
    from torch import Tensor

METADATA_KEY = "foveate"
"""The one metadata key that we write: safetensors keeps several in random order, one gives the same bytes always."""


class CannotWrite(FoveateError):
    """A file can't be written (no room, no permission, no such folder); the text names it. Exit status 2."""


def reason(error: OSError) -> str:
    """What the operating system said, in lower case and without its number."""
    return (error.strerror or str(error) or type(error).__name__).lower()


@contextmanager
def allowed_to(what: str) -> Iterator[None]:
    """What the system refuses within as `CannotWrite`: "can't write FILE: why". A closed pipe stays BrokenPipeError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CannotWrite(f"can't {what}: {reason(error)}") from error


def write_atomic(path: str | os.PathLike, content: bytes | str | Callable[[BinaryIO], Any]) -> None:
    """Write a file so that whoever looks sees the old one or the new one, whole, also after a power cut.

    A temporary file beside it is written, synced, renamed over it, and the folder, which must exist, is synced. Where
    `path` is a link its target is replaced, not the link; a device or a pipe (`/dev/stdout`) is simply written to. The
    content may be a function that writes to the open binary file.

    Raises:
        CannotWrite: The file can't be written; the old one, if any, is as it was.
    """
    target = Path(os.path.realpath(path))
    with allowed_to(f"write {path}"):
        if target.exists() and not target.is_file():
            with open(target, "wb") as handle:
                _fill(handle, content)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
        try:
            with open(descriptor, "wb") as handle:
                _fill(handle, content)
                handle.flush()
                os.fchmod(handle.fileno(), 0o666 & ~_umask())  # mkstemp makes files that only their owner may read
                os.fsync(handle.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def _fill(handle: BinaryIO, content: bytes | str | Callable[[BinaryIO], Any]) -> None:
    if callable(content):
        content(handle)
    else:
        handle.write(content.encode() if isinstance(content, str) else content)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: str | os.PathLike) -> None:
    """Make renames and new names in `folder` last through a power cut, where the system can."""
    with suppress(OSError):  # not every system opens folders, some network file systems refuse to sync them
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def strict(value: Any) -> Any:
    """The same value in types that JSON has: NaN and infinities become None, arrays and tensors lists, paths text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): strict(item) for name, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, tensors
        return strict(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (Sequence, set, frozenset)):
        return [strict(item) for item in value]
    raise TypeError(f"not JSON serialisable: {type(value).__name__}: {value!r}")


def to_json(value: Any, sort_keys: bool = False) -> str:
    """Strict JSON in ASCII: never NaN, and never a character that some reader takes for the end of a line."""
    return json.dumps(strict(value), allow_nan=False, ensure_ascii=True, sort_keys=sort_keys)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as strict JSON (see `strict`), atomically."""
    write_atomic(path, to_json(value) + "\n")


def append_line(handle: IO, value: Any) -> None:
    """Write one whole JSON line and push it out of this process, so that a kill tears at most the last line.

    Raises:
        CannotWrite: No room left, or the file is gone. A closed pipe stays a BrokenPipeError.
    """
    line = to_json(value) + "\n"
    rest: str | bytes = line if hasattr(handle, "encoding") else line.encode()
    with allowed_to(f"write {getattr(handle, 'name', 'output')}"):
        while rest:  # a file without a buffer may take a part only, as a full disk does
            taken = handle.write(rest)
            if not taken:
                raise BlockingIOError(errno.EAGAIN, "no more data accepted")
            rest = rest[taken:]
        handle.flush()


def scan_lines(path: str | os.PathLike) -> Iterator[tuple[Any, int]]:
    """The whole JSON lines of a file one by one, each with the position of its end; a torn last one is left out.

    Raises:
        BadInput: The file can't be read, or a line other than the last is no JSON.
    """
    try:
        with open(path, "rb") as handle:
            end, broken = 0, None
            for number, line in enumerate(handle, start=1):
                if broken is not None:
                    raise BadInput(f"{path}, line {number - 1}: not valid JSON ({broken})") from broken
                end += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    record = json.loads(line) if line.strip() else None
                except ValueError as error:
                    broken = error  # in the last line it is what a power cut leaves: an end without its middle
                    continue
                if record is not None:
                    yield record, end
    except OSError as error:
        raise BadInput(f"can't read {path}: {reason(error)}") from error


def read_lines(path: str | os.PathLike) -> list[Any]:
    """The records of `scan_lines`; none where there is no such file."""
    return [record for record, _ in scan_lines(path)] if os.path.exists(path) else []


def save_tensors(path: str | os.PathLike, tensors: Mapping[str, "Tensor"], metadata: Mapping | None = None) -> None:
    """Write tensors as safetensors, atomically; the same content gives the same bytes.

    Tensors may share memory and live on any device; the metadata is what JSON has.
    """
    from safetensors.torch import save

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomic(path, save(copies, metadata={METADATA_KEY: to_json(metadata or {}, sort_keys=True)}))


def load_tensors(path: str | os.PathLike) -> dict[str, "Tensor"]:
    """All tensors of a safetensors file, on the CPU.

    Each gets memory of its own. In the file a tensor begins wherever the one before it ended, and some matrix products
    round differently where memory is not aligned: a training that went on from a file would end with other last bits.

    Raises:
        BadInput: No such file, or it isn't a whole safetensors file.
    """
    from safetensors.torch import load

    with _reading(path):  # as bytes, since safetensors opens only what has a name in UTF-8
        return {name: tensor.clone() for name, tensor in load(Path(path).read_bytes()).items()}


def load_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """The metadata that `save_tensors` was given, empty of another program's file; raises as `load_tensors` does."""
    from safetensors import safe_open

    with _reading(path), safe_open(path, framework="pt") as handle:
        return json.loads((handle.metadata() or {}).get(METADATA_KEY, "{}"))


def checked(tensors: Mapping[str, "Tensor"], name: str, shape: Sequence[int], source: object) -> "Tensor":
    """The tensor `name`; `source` is what an error names.

    Raises:
        BadInput: It is missing, of another shape, or not finite.
    """
    found = tensors.get(name)
    if found is None or found.shape != tuple(shape) or not found.isfinite().all():
        shown = None if found is None else list(found.shape)
        raise BadInput(f"{source}: tensor {name} must be finite, of shape {list(shape)}; found {shown}")
    return found


@contextmanager
def _reading(path: str | os.PathLike) -> Iterator[None]:
    """What goes wrong with a safetensors file as BadInput."""
    from safetensors import SafetensorError

    if not os.path.exists(path):
        raise BadInput(f"{path}: no such file")
    if not os.path.isfile(path):  # a pipe would wait for ever
        raise BadInput(f"{path}: not a file")
    if not os.access(path, os.R_OK):
        raise BadInput(f"{path}: no permission to read it")
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(f"{path}: not a complete safetensors file ({one_line(error)})") from error
