"""Which layout the annotation files of a folder have, and what they contain.

`annotations.json` in the folder itself decides, whatever it holds. Else the files of the folder and those below are
looked at: JSON files of COCO or Label Studio and XML of CVAT, wherever tools put them; one JSON (labelme), XML (Pascal
VOC) or text file (YOLO) an image. Files of two layouts are refused, since nobody knows which is meant; where there are
files that could be annotations and are none of these, what was seen is said.
"""

import os
from collections.abc import Callable
from typing import Any

from foveate.errors import BadInput
from foveate.scenes.layouts import coco, cvat, label_studio, labelme, voc, yolo
from foveate.scenes.layouts.documents import load_json, load_lines, load_xml
from foveate.scenes.layouts.pairing import Pairs, Survey, read_pairs
from foveate.scenes.layouts.shapes import Document

ANNOTATIONS = "annotations.json"
LAYOUTS = "COCO, Pascal VOC, YOLO, labelme, Label Studio, CVAT"
_LOOKED_AT = 200
"""JSON files without an image of their own that are looked into."""

_MAY_ANNOTATE = ".json .jsonl .xml .txt .csv .tsv .mat .pkl .tfrecord .parquet .h5 .dat".split()

Found = dict[str, list[str]]
"""By layout, the places of its files."""


def read_document(survey: Survey) -> Document | None:
    """What the annotation files of a folder contain; None where there are none.

    Raises:
        BadInput: They can't be used, or are of no layout that is read.
    """
    place = survey.path(ANNOTATIONS)
    if os.path.lexists(place):
        loaded = load_json(place)
        if label_studio.is_tasks(loaded) or label_studio.is_min(loaded):
            return label_studio.understand(loaded, place)
        return coco.understand(loaded, place)
    found: Found = {}
    kept: dict[str, Any] = {}
    _look_at_json(survey, found, kept)
    _look_at_xml(survey, found)
    _look_at_text(survey, found)
    if len(found) > 1:
        counts = {layout: f" and {len(places) - 1} more" if len(places) > 1 else "" for layout, places in found.items()}
        named = "; ".join(f"{layout} ({places[0]}{counts[layout]})" for layout, places in sorted(found.items()))
        raise BadInput(f"{survey.folder}: annotations in several formats, keep one of them: {named}")
    for layout, places in found.items():
        return _READERS[layout](survey, places, kept)
    if survey.broken:
        raise BadInput(survey.broken[0])
    return None


def unknown(survey: Survey) -> str | None:
    """What files of a folder without annotations may be meant as such, in words; None where there are none."""
    if not any(suffix in survey.others for suffix in _MAY_ANNOTATE):
        return None
    return f"no annotations in a known format ({LAYOUTS}) among {survey.seen()}"


def _look_at_json(survey: Survey, found: Found, kept: dict[str, Any]) -> None:
    """Files with an image of the same name are of one layout, that of the first of them; each of the others is looked
    into. What is loaded is kept, unless there is one per image."""
    pairs, places = Pairs(survey.images), survey.others.get(".json", [])
    paired = [place for place in places if pairs.of(place) is not None]
    if any(labelme.is_labelme(_loaded(survey, place)) for place in paired[:5]):
        found["labelme"] = paired
    with_image = set(paired)
    alone = [place for place in places if place not in with_image]
    for place in alone[:_LOOKED_AT]:
        loaded = _loaded(survey, place)
        if coco.is_coco(loaded):
            found.setdefault("coco", []).append(place)
            kept[place] = loaded
        elif label_studio.is_tasks(loaded) or label_studio.is_min(loaded):
            found.setdefault("label-studio", []).append(place)
            kept[place] = loaded
        elif labelme.is_labelme(loaded):
            found.setdefault("labelme", []).append(place)


def _loaded(survey: Survey, place: str) -> Any:
    try:
        return load_json(survey.path(place))
    except BadInput as error:
        survey.broken.append(str(error))
        return None


def _look_at_xml(survey: Survey, found: Found) -> None:
    """One file of VOC makes all of them VOC's but for CVAT's: what is wrong with one is reported when it is read."""
    places = survey.others.get(".xml", [])
    for place in places:
        try:
            tag = load_xml(survey.path(place)).tag
        except BadInput as error:
            survey.broken.append(str(error))
            continue
        if tag == "annotations":
            found.setdefault("cvat", []).append(place)
        elif tag == "annotation":
            found["voc"] = [each for each in places if each not in found.get("cvat", [])]
            return


def _look_at_text(survey: Survey, found: Found) -> None:
    pairs = Pairs(survey.images)
    labels = [
        place
        for place in survey.others.get(".txt", [])
        if place.rpartition("/")[2] not in yolo.NAME_FILES and pairs.of(place) is not None
    ]
    if not labels:
        return
    first: list[list[str]] = []
    for place in labels[:20]:
        try:
            first.append(load_lines(survey.path(place)))
        except BadInput:
            continue
    document = [lines for lines in first if any(line.strip() for line in lines)]
    if any(yolo.is_label(lines) for lines in document) or (not document and yolo.read_kinds(survey).names):
        found["yolo"] = labels


def _below(place: str) -> str:
    """The folder that names in an annotation file are relative to: its own, or the one above `annotations/`."""
    folder = place.rpartition("/")[0]
    return folder.rpartition("/")[0] if folder.rpartition("/")[2].lower() in ("annotations", "labels") else folder


def _coco(survey: Survey, places: list[str], kept: dict[str, Any]) -> Document:
    """COCO's own files of one split are `instances_`, `person_keypoints_`, `captions_` and more: the first are read."""
    instances = [place for place in places if place.rpartition("/")[2].startswith("instances_")]
    read = instances or places
    document = _joined(
        survey, "coco", [coco.understand(kept[place], survey.path(place), _below(place)) for place in read]
    )
    for place in places:
        if place not in read:
            document.doubts.add("unread_files", place)
    return document


def _joined(survey: Survey, layout: str, files: list[Document]) -> Document:
    """Several files as one, each a split of its own."""
    if len(files) == 1:
        return files[0]
    document = Document(layout, survey.folder)
    for each in files:
        document.entries += each.entries
        document.categories += [name for name in each.categories if name not in document.categories]
        document.canonical |= each.canonical
        document.doubts.extend(each.doubts)
        objects = sum(len(entry.shapes) for entry in each.entries)
        place = os.path.relpath(each.place, survey.folder).replace(os.sep, "/")
        document.doubts.add("splits", f"{place} ({len(each.entries)} images, {objects} annotations)")
    return document


_READERS: dict[str, Callable[[Survey, list[str], dict[str, Any]], Document]] = {
    "coco": _coco,
    "label-studio": lambda survey, places, kept: _joined(
        survey,
        "label-studio",
        [label_studio.understand(kept[each], survey.path(each), _below(each)) for each in places],
    ),
    "cvat": lambda survey, places, _: _joined(
        survey, "cvat", [cvat.read(survey.path(each), _below(each)) for each in places]
    ),
    "labelme": lambda survey, places, _: read_pairs("labelme", survey, places, labelme.read),
    "voc": lambda survey, places, _: read_pairs("voc", survey, places, voc.read),
    "yolo": lambda survey, places, _: yolo.read(survey, places),
}
