"""SCENES: a folder of pictures, annotated or not.

    scenes = read_scenes("faces/train", select=slice(0, 100))
    for scene in scenes.scenes:
        pixels = read_image(scene.path)     # the gazes of scene.gazes are in these pixels

Nothing is ever written into the folder, and no name in an annotation file leads out of it. Headers are read here, to
know every picture's upright size; pixels are not, so that memory stays small whatever the number of pictures.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Literal

from foveate.errors import BadInput
from foveate.scenes.annotations import FACE_POINTS, Annotation, choose_category, of_document
from foveate.scenes.doubts import Doubts, Refused
from foveate.scenes.examination import examine
from foveate.scenes.formats import RAW
from foveate.scenes.groups import group, sources
from foveate.scenes.image import open_picture, read_image
from foveate.scenes.layouts.find import read_document, unknown
from foveate.scenes.layouts.keypoints import check_canonical
from foveate.scenes.layouts.names import Resolver, is_spelled
from foveate.scenes.layouts.pairing import Survey, below
from foveate.scenes.layouts.shapes import Document
from foveate.scenes.listing import scan
from foveate.scenes.placing import Listed, place
from foveate.scenes.scene import Scene, Scenes

__all__ = ["Scene", "Scenes", "open_picture", "parse_select", "read_image", "read_scenes"]

Unannotated = Literal["empty", "ignore"]


def parse_select(text: str) -> slice:
    """The slice that START:STOP means; either may be left out, and negative ones count from the end as in Python.

    Raises:
        BadInput: The text is not of that form.
    """
    match = re.fullmatch(r"\s*(-?\d{1,18})?\s*:\s*(-?\d{1,18})?\s*", text, flags=re.ASCII)
    if match is None:
        raise BadInput(f"--select {text!r}: expected START:STOP, such as 0:100")
    start, stop = (None if part is None else int(part) for part in match.groups())
    return slice(start, stop)


def read_scenes(
    folder: str | os.PathLike,
    select: slice | None = None,
    category: str | None = None,
    canonical: Mapping[str, tuple[float, float]] | None = None,
    annotated: bool = True,
    tick: Callable[[int], None] | None = None,
    usual: str | None = None,
    unannotated: Unannotated | None = None,
    rule: str | None = None,
) -> Scenes:
    """Reads a SCENES folder.

    Args:
        folder: In any of the layouts that `foveate.scenes.layouts` reads, or without annotations.
        select: Which of its pictures, sorted by name.
        category: Name of the kind of object to use, if several are annotated.
        canonical: Where named keypoints lie in the canonical window; goes before what the files say and `FACE_POINTS`.
        annotated: False takes every picture of the folder and looks at no annotations.
        tick: Called with the number of pictures whose headers are read.
        usual: Name of the kind to use where several are annotated, this one among them, and `category` names none.
        unannotated: What pictures that nobody annotated are, where others are: empty (with a warning by default), or
            left out.
        rule: What belongs together when scenes are held out: "folder", or a regular expression (`groups.group`).

    Raises:
        BadInput: The folder, its annotations, or most of its pictures can't be used; the selection is empty.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise BadInput(f"{folder}: not a folder")
    points = None if canonical is None else check_canonical(canonical, "canonical points")
    survey = Survey.of(folder, listing := scan(folder))
    document = read_document(survey) if annotated else None
    if document is None and annotated and category is not None:
        raise BadInput(f"{folder}: no annotations, so no category {category!r}")
    document = document or Document("images", folder)
    if document.layout == "images" and annotated and (what := unknown(survey)) is not None:
        document.doubts.add("unknown_layout", None, what=what)
    for path, what in listing.named:
        document.doubts.add("raw" if what == RAW else "no_photographs", f"{below(folder, path)}: {what}")
    try:
        kind = choose_category(document, category if annotated else None, usual)
        annotations = of_document(document, kind, {**FACE_POINTS, **document.canonical, **(points or {})})
        if document.layout == "images":
            listed = [Listed(name) for name in survey.images]
        else:
            listed = _unannotated(_resolve(document, annotations, survey), unannotated, document.doubts)
        placed = place(_selected(listed, select, folder), folder, document.doubts, tick)
        names = [each.name for each, _, _ in placed]
        paths = [os.path.join(folder, name) for name in names]
        groups, grouping = group(names, paths, rule)
    except BadInput as error:
        objects = sum(shape.kind == "object" for entry in document.entries for shape in entry.shapes)
        figures = {"layout": document.layout, "images": len(document.entries), "objects": objects}
        raise Refused(str(error), figures, document.doubts) from None
    scenes = [
        Scene(each.name, path, header.width, header.height, found, each.annotated, of)
        for (each, header, found), path, of in zip(placed, paths, groups, strict=True)
    ]
    examine(scenes, document.doubts)
    if grouping is None and (several := sources(names)):
        document.doubts.add("neighbours", None, len(names), total=len(names), groups=several)
    return Scenes(scenes, kind, document.layout, document.doubts, grouping)


def known_images(folder: str | os.PathLike) -> tuple[dict[str, tuple[int | str, str]], dict[str, int | str]]:
    """What a folder's COCO annotations call its images: id and `file_name` by the real path; and ids of kinds by name.

    Nothing where the folder has no such annotations, or several files of them, whose ids need not agree.
    """
    folder = os.fspath(folder)
    try:
        survey = Survey.of(folder, scan(folder))
        document = read_document(survey)
        if document is None or document.layout != "coco" or not document.identities:
            return {}, {}
        files = _resolve(document, [[] for _ in document.entries], survey)
    except BadInput:
        return {}, {}
    known = {}
    for each in files:
        if each.entry is not None and each.entry.identity is not None:
            known[os.path.realpath(os.path.join(folder, each.name))] = each.entry.identity, each.entry.file_name
    return known, document.identities


def _selected(listed: list[Listed], select: slice | None, folder: str) -> list[Listed]:
    """Those that a selection of the files sorted by name holds; `BadInput` if there are none."""
    listed = sorted(listed, key=lambda each: each.name)
    chosen = listed[select or slice(None)]
    if not chosen:
        reason = f"the selection contains none of {len(listed)} images" if listed else "no images"
        raise BadInput(f"{folder}: {reason}")
    return chosen


def _unannotated(listed: list[Listed], rule: Unannotated | None, doubts: Doubts) -> list[Listed]:
    """What becomes of pictures that nobody annotated, where others are."""
    bare = [each for each in listed if not each.annotated]
    if rule == "empty":
        for each in bare:
            each.annotated = True
    elif len(bare) < len(listed):
        for each in bare:
            doubts.add("left_out" if rule == "ignore" else "unannotated", each.name, total=len(listed))
    ignored = rule == "ignore" and len(bare) < len(listed)
    return [each for each in listed if each.annotated] if ignored else listed


def _resolve(document: Document, annotations: list[list[Annotation]], survey: Survey) -> list[Listed]:
    """The file of every entry, with the entries that name it.

    Entries that name one file exactly are one picture. Entries that only resemble a file's name get it if no other
    entry does: two pictures of one base name from different folders are not the same picture.
    """
    resolver, doubts, total = Resolver(survey.folder), document.doubts, len(document.entries)
    files: dict[str, list[int]] = {}
    inexact = []
    for number, entry in enumerate(document.entries):
        found = resolver.exact(entry.file_name, entry.below) or resolver.respelled(entry.file_name, entry.below)
        found = found or resolver.exact(entry.other_name, entry.below)
        if found is None:
            inexact.append(number)
        else:
            files.setdefault(found, []).append(number)
    claims: dict[str, list[int]] = {}
    missing = []
    for number in inexact:
        entry = document.entries[number]
        found = resolver.alike(entry.file_name) or resolver.alike(entry.other_name)
        if isinstance(found, str) and found not in files:
            claims.setdefault(found, []).append(number)
        elif isinstance(found, str):
            missing.append(f"{entry.file_name} (its base name is that of {found}, which another entry names)")
        else:
            missing.append(f"{entry.file_name} (could be {' or '.join(found[:3])})" if found else entry.file_name)
    for found, numbers in claims.items():
        names = [document.entries[number].file_name for number in numbers]
        if len(set(names)) == 1:
            files[found] = numbers
        else:
            missing += [f"{name} (could be {found}, as could another entry)" for name in names]
    for found, numbers in files.items():
        for name in (document.entries[number].file_name for number in numbers):
            if not is_spelled(name, found):
                doubts.add("names", f"{name} is {found}", total=total)
    for name in missing:
        doubts.add("missing", name, total=total)
    if 2 * len(missing) > total:
        raise BadInput(f"{survey.folder}: {doubts.line('missing')}")
    for name in survey.images:
        if name not in files and name not in document.left_out:
            doubts.add("unlisted_images", name)
    listed = []
    for name, numbers in files.items():
        entries = [document.entries[number] for number in numbers]
        told = [(entry.size, annotations[number]) for entry, number in zip(entries, numbers, strict=True)]
        listed.append(Listed(name, any(entry.annotated for entry in entries), told, entries[0]))
    return listed
