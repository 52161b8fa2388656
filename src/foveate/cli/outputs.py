"""What `foveate attend` writes beside its lines: files for other programs, overlays, crops; checked at the start."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from foveate.cli.options import whole
from foveate.errors import BadInput
from foveate.storage.files import CannotWrite, allowed_to, to_json, write_atomic, write_json
from foveate.storage.results import STDOUT

DRAWS = (".npz", ".nc")  # endings
Line = dict[str, Any]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Files and folders beside the lines.

    Args:
        coco: Also write the results as a COCO file; ids and names are those of the images' annotations.json, if any.
        csv: Also write a table with one row per gaze, and FILE.images.csv with one row per image.
        cvat: Also write CVAT's XML, to correct the gazes there.
        label_studio: Also write Label Studio's JSON (predictions), to correct the gazes there.
        yolo_obb: Also write a folder of YOLO label files with oriented boxes.
        draws: Also write the posteriors' draws: an .npz file, or .nc (NetCDF for ArviZ, where it is installed).
        overlays: Folder for images with the gazes drawn on them.
        crops: Folder for aligned crops, one per object.
        crop_size: Side of the crops in pixels.
        crop_margin: Margin around each object's window, as a share of the window's side.
    """

    coco: str | None = None
    csv: str | None = None
    cvat: str | None = None
    label_studio: str | None = None
    yolo_obb: str | None = None
    draws: str | None = None
    overlays: str | None = None
    crops: str | None = None
    crop_size: Annotated[int, Parameter(converter=whole, validator=Number(gte=1, lte=8192))] = 192
    crop_margin: Annotated[float, Parameter(validator=Number(gte=0, lte=10))] = 0.0

    def files(self) -> dict[str, str]:
        """The files that are asked for, by option."""
        named = {"--coco": self.coco, "--csv": self.csv, "--cvat": self.cvat, "--label-studio": self.label_studio}
        named |= {"--draws": self.draws, "the images of --csv": None if self.csv is None else images_table(self.csv)}
        return {option: path for option, path in named.items() if path is not None}

    def folders(self) -> dict[str, str]:
        """The folders that are asked for, by option."""
        named = {"--overlays": self.overlays, "--crops": self.crops, "--yolo-obb": self.yolo_obb}
        return {option: path for option, path in named.items() if path is not None}

    def wants_lines(self) -> bool:
        """Whether anything is made of all lines at the end."""
        return bool(self.files().keys() - {"--draws"}) or self.yolo_obb is not None


def check(outputs: Outputs, out: str, arguments: Sequence[str], images: Iterable[tuple[str, str]]) -> None:
    """Checks all places before anything is loaded or written: `images` are the (name, path) of what will be read."""
    draws = (outputs.draws or DRAWS[0]).lower()
    if not draws.endswith(DRAWS):
        raise BadInput(f"--draws {outputs.draws}: expected a file that ends in {' or '.join(DRAWS)}")
    if draws.endswith(".nc") and not (find_spec("arviz") and find_spec("h5netcdf")):
        advice = "pip install 'foveate[diagnostics]', or name a file that ends in .npz"
        raise BadInput(f"--draws to .nc needs ArviZ: {advice}")
    files = {**({} if out in STDOUT else {"--out": out}), **outputs.files()}
    for option, path in files.items():
        _refuse_unwritable(option, path)
    seen: dict[str, str] = {}
    for option, path in files.items():
        other = seen.setdefault(os.path.realpath(path), option)
        is_device = os.path.exists(path) and not os.path.isfile(path)
        if other != option and not is_device:
            raise BadInput(f"{other} and {option} are one file: {path}")
    existing = {os.path.realpath(path) for path in files.values() if os.path.isfile(path)}
    for name, path in images if existing else ():
        if os.path.realpath(path) in existing:
            raise BadInput(f"{name} is one of the images, and would be overwritten")
    for option, folder in outputs.folders().items():
        _refuse_folder(option, folder, arguments)


def claim_folder(option: str, folder: str, arguments: Sequence[str]) -> Path:
    """A folder of outputs, checked as `check` does it, and made."""
    _refuse_folder(option, folder, arguments)
    return _make(folder) or Path(folder)


class Pictures:
    """Draws and cuts each image, in the folders of overlays and crops; `note` hears of the first with several pages."""

    def __init__(self, outputs: Outputs, note: Callable[[str], None] | None = None):
        self._note = note
        self.figures: list[Any] = []  # of images, which say whether they are like those of training
        self._size, self._zoom = outputs.crop_size, 1.0 + 2.0 * outputs.crop_margin
        self.overlays, self.crops = (_make(folder) for folder in (outputs.overlays, outputs.crops))
        self._named, self._draws_at = outputs.crops, outputs.draws
        self._draws: list[Any] | None = None if outputs.draws is None else []

    def write(self, attended: Any) -> None:
        """Draw and cut one image; files are replaced whole, so a resumed run may do them again."""
        if attended.pages > 1 and self._note is not None:
            self._note(f"{attended.name} has {attended.pages} pages: the first is used, here and elsewhere (--page)")
            self._note = None
        if attended.figures is not None:
            self.figures.append(attended.figures)
        if self._draws is not None:
            founds = enumerate(attended.in_full(), start=1)
            self._draws += [(attended.name, number, found.posterior) for number, found in founds]
        if attended.pixels is None or not (self.overlays or self.crops):
            return
        from foveate.attention.output import output_name
        from foveate.attention.overlay import crop, draw_overlay

        name = output_name(attended.name)
        if self.overlays:
            _save(self.overlays / f"{name}.jpg", draw_overlay(attended.pixels, attended.founds), "JPEG")
        if self.crops:
            pixels, founds = attended.detail()
            for number, found in enumerate(founds, start=1):
                u = [found.u[0] * self._zoom, found.u[1] * self._zoom, found.u[2], found.u[3]]
                _save(self.crops / f"{name}-{number}.png", crop(pixels, u, self._size), "PNG")

    def finish(self) -> None:
        """Writes what is written once all images are done: the draws."""
        if self._draws is not None and self._draws_at is not None:
            from foveate.attention.posterior.draws import write_draws

            write_draws(self._draws_at, self._draws)

    def tell(self, line: Line) -> Line:
        """The line of an image, each gaze with the name of its crop."""
        if self._named is None or "error" in line:
            return line
        from foveate.attention.output import output_name

        name = output_name(line["image"])
        crops = (os.path.join(self._named, f"{name}-{number}.png") for number in range(1, len(line["gazes"]) + 1))
        return {**line, "gazes": [{**gaze, "crop": crop} for gaze, crop in zip(line["gazes"], crops, strict=True)]}


def write_all(
    outputs: Outputs, lines: Callable[[], Iterable[Line]], arguments: Sequence[str], category: str, *others: str
) -> None:
    """Write what is made of all lines, which `lines` gives each time it is called; `others` are further kinds."""
    from foveate.scenes.layouts import writing

    if outputs.coco is not None:
        known, categories = _known(arguments)
        write_json(outputs.coco, writing.coco(lines(), category, known, categories))
    if outputs.csv is not None:
        gazes = (row for line in lines() for row in writing.gaze_rows(line))
        _write_table(outputs.csv, writing.GAZE_COLUMNS, gazes)
        _write_table(images_table(outputs.csv), writing.IMAGE_COLUMNS, map(writing.image_row, lines()))
    below = partial(_below, arguments=arguments)
    if outputs.cvat is not None:
        parts = (p.encode("utf-8", "backslashreplace") for p in writing.cvat(map(below, lines()), category, others))
        write_atomic(outputs.cvat, lambda handle: handle.writelines(parts))
    if outputs.label_studio is not None:
        write_json(outputs.label_studio, list(writing.label_studio(map(below, lines()), category)))
    if outputs.yolo_obb is not None:
        _write_yolo(Path(outputs.yolo_obb), map(below, lines()), [category, *others])


def images_table(path: str) -> str:
    """The table of images beside the table of gazes: F.images.csv beside F.csv."""
    return f"{path.removesuffix('.csv')}.images.csv"


def _known(arguments: Sequence[str]) -> tuple[dict[str, tuple[int | str, str]], dict[str, int | str]]:
    """Ids and names of images, by the `image` of their lines, if one folder of annotated images is attended."""
    from foveate.scenes.folder import known_images
    from foveate.scenes.listing import scan

    folders = [argument for argument in arguments if os.path.isdir(argument)]
    if len(folders) != 1:
        return {}, {}
    known, categories = known_images(folders[0])
    by_name = {name: known.get(os.path.realpath(path)) for name, path in scan(folders[0]).images}
    return {name: each for name, each in by_name.items() if each is not None}, categories


def _below(line: Line, arguments: Sequence[str]) -> Line:
    """A line whose image is named below the one folder that was attended, as annotation tools have it."""
    name, (first, *others) = line["image"], arguments
    below = not others and os.path.isdir(first) and name.startswith(first)
    return {**line, "image": name.removeprefix(first).lstrip("/")} if below else line


def _write_table(path: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    def write(handle: Any) -> None:
        text = io.TextIOWrapper(handle, encoding="utf-8", errors="surrogateescape", newline="")
        table = csv.DictWriter(text, columns)
        table.writeheader()
        table.writerows(rows)
        text.detach()

    write_atomic(path, write)


def _write_yolo(folder: Path, lines: Iterable[Line], kinds: list[str]) -> None:
    """labels/NAME.txt for each image, and data.yaml; names of images in folders keep those."""
    from foveate.scenes.layouts.writing import yolo_obb

    root = _make(str(folder))
    assert root is not None
    for line in lines:
        if "error" in line:
            continue
        name = os.path.normpath(line["image"].lstrip("/")).replace("../", "")
        path = root / "labels" / Path(name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, yolo_obb(line, kinds))
    write_atomic(root / "data.yaml", f"path: .\ntrain: images\nval: images\nnames: {to_json(kinds)}\n")


def _make(name: str | None) -> Path | None:
    """The folder, made and marked as an output unless it holds files of others."""
    if name is None:
        return None
    from foveate.scenes.listing import mark_output

    with allowed_to(f"write {name}"):
        strange = _holds_others(name)
        os.makedirs(name, exist_ok=True)
        if not strange:
            mark_output(name)
    return Path(name).absolute()  # workers of a cluster begin elsewhere


def _holds_others(folder: str) -> bool:
    """Whether there is something in a folder that foveate did not write: anything, unless it is marked as an output."""
    from foveate.scenes.listing import OUTPUT_MARK

    if not os.path.isdir(folder) or os.path.lexists(os.path.join(folder, OUTPUT_MARK)):
        return False
    with os.scandir(folder) as entries:
        return any(True for _ in entries)


def _lies_in(folder: str, argument: str) -> bool:
    """Whether a folder is, or lies below, a folder of images."""
    inside, outside = os.path.realpath(folder), os.path.realpath(argument)
    return os.path.isdir(argument) and (inside == outside or inside.startswith(outside + os.sep))


def _refuse_folder(option: str, folder: str, arguments: Sequence[str]) -> None:
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise CannotWrite(f"can't write {option} {folder}: not a folder")
    if _holds_others(folder) and any(_lies_in(folder, argument) for argument in arguments):
        raise BadInput(f"{option} {folder}: lies among the images and holds other files; name a folder of its own")


def _refuse_unwritable(option: str, path: str) -> None:
    parent = os.path.dirname(os.path.realpath(path))
    why = "it is a folder" if os.path.isdir(path) else "" if os.path.isdir(parent) else "no such folder"
    if not why and not os.access(path if os.path.exists(path) else parent, os.W_OK):
        why = "permission denied"
    if why:
        raise CannotWrite(f"can't write {option} {path}: {why}")


def _save(path: Path, picture: Any, kind: str) -> None:
    write_atomic(path, lambda handle: picture.save(handle, format=kind, **({"quality": 90} if kind == "JPEG" else {})))
