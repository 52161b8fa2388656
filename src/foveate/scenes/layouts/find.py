"""Which layout the annotation files of a folder have, and what they contain.

`annotations.json` in the folder itself decides, whatever it holds. Else the files of the folder and those below are
looked at: JSON files of COCO or Label Studio and XML of CVAT, wherever tools put them; one JSON (labelme), XML (Pascal
VOC) or text file (YOLO) an image. Files of two layouts are refused, since nobody knows which is meant; where there are
files that could be annotations and are none of these, what was seen is said.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from foveate.errors import BadInput
from foveate.scenes.layouts import coco, cvat, label_studio, labelme, voc, yolo
from foveate.scenes.layouts.documents import load_json, load_lines, load_xml
from foveate.scenes.layouts.pairing import Pairs, Survey, below, read_pairs
from foveate.scenes.layouts.shapes import Document

ANNOTATIONS = "annotations.json"
LAYOUTS = "COCO, Pascal VOC, YOLO, labelme, Label Studio, CVAT"
_LOOKED_AT = 200  # JSON files without an image of their own that are looked into

_MAY_ANNOTATE = ".json .jsonl .xml .txt .csv .tsv .mat .pkl .tfrecord .parquet .h5 .dat".split()

_OF_MANY = {"coco": coco.understand, "label-studio": label_studio.understand, "cvat": cvat.understand}
"""What understands the loaded file of a layout with one for many images."""
_OF_ONE = {"labelme": labelme.read, "voc": voc.read}  # what reads the file of a layout with one for each image

Found = dict[str, dict[str, Any]]  # by layout, the places of its files, and what is loaded of those for many images
Load = Callable[[Callable[[str], Any], str], Any]


def read_document(survey: Survey) -> Document | None:
    """What the annotation files of a folder contain; None where there are none, `BadInput` where they can't be used."""
    place = survey.path(ANNOTATIONS)
    if os.path.lexists(place):
        loaded = load_json(place)
        return (label_studio if label_studio.is_export(loaded) else coco).understand(loaded, place)
    found: Found = {}
    broken: list[str] = []

    def load(read: Callable[[str], Any], place: str) -> Any:
        try:
            return read(survey.path(place))
        except BadInput as error:
            broken.append(str(error))

    pairs = Pairs(survey.images)
    _look_at_json(survey, pairs, found, load)
    _look_at_xml(survey, found, load)
    _look_at_text(survey, pairs, found)
    if len(found) > 1:
        named = []
        for layout, (first, *others) in sorted(found.items()):
            named.append(f"{layout} ({first}{f' and {len(others)} more' if others else ''})")
        raise BadInput(f"{survey.folder}: annotations in several formats, keep one of them: {'; '.join(named)}")
    for layout, places in found.items():
        if layout == "yolo":
            return yolo.read(survey, list(places))
        if layout in _OF_ONE:
            return read_pairs(layout, survey, list(places), _OF_ONE[layout])
        return _joined(survey, layout, places)
    if broken:
        raise BadInput(broken[0])
    return None


def unknown(survey: Survey) -> str | None:
    """What files of a folder without annotations may be meant as such, in words; None where there are none."""
    if not any(suffix in survey.others for suffix in _MAY_ANNOTATE):
        return None
    return f"no annotations in a known format ({LAYOUTS}) among {survey.seen()}"


def _look_at_json(survey: Survey, pairs: Pairs, found: Found, load: Load) -> None:
    """Files with an image of the same name are of one layout, that of the first of them; each of the others is looked
    into."""
    places = survey.others.get(".json", [])
    paired = dict.fromkeys(place for place in places if pairs.of(place) is not None)
    if any(labelme.is_labelme(load(load_json, place)) for place in list(paired)[:5]):
        found["labelme"] = paired.copy()
    for place in [place for place in places if place not in paired][:_LOOKED_AT]:
        loaded = load(load_json, place)
        if coco.is_coco(loaded):
            found.setdefault("coco", {})[place] = loaded
        elif label_studio.is_export(loaded):
            found.setdefault("label-studio", {})[place] = loaded
        elif labelme.is_labelme(loaded):
            found.setdefault("labelme", {})[place] = None


def _look_at_xml(survey: Survey, found: Found, load: Load) -> None:
    """One file of VOC makes all of them VOC's but for CVAT's: what is wrong with one is reported when it is read."""
    places = survey.others.get(".xml", [])
    for place in places:
        tag = getattr(root := load(load_xml, place), "tag", None)
        if tag == "annotations":
            found.setdefault("cvat", {})[place] = root
        elif tag == "annotation":
            found["voc"] = dict.fromkeys(each for each in places if each not in found.get("cvat", {}))
            return


def _look_at_text(survey: Survey, pairs: Pairs, found: Found) -> None:
    texts = (place for place in survey.others.get(".txt", []) if place.rpartition("/")[2] not in yolo.NAME_FILES)
    labels = [place for place in texts if pairs.of(place) is not None]
    first: list[list[str]] = []
    for place in labels[:20]:
        with suppress(BadInput):
            first.append(load_lines(survey.path(place)))
    told = [lines for lines in first if any(line.strip() for line in lines)]
    if labels and (any(map(yolo.is_label, told)) or (not told and yolo.read_kinds(survey).names)):
        found["yolo"] = dict.fromkeys(labels)


def _folder(place: str) -> str:
    """The folder that names in an annotation file are relative to: its own, or the one above `annotations/`."""
    folder = place.rpartition("/")[0]
    return folder.rpartition("/")[0] if folder.rpartition("/")[2].lower() in ("annotations", "labels") else folder


def _joined(survey: Survey, layout: str, places: dict[str, Any]) -> Document:
    """Files of many images as one document, each a split of its own.

    COCO's own files of one split are `instances_`, `person_keypoints_`, `captions_` and more: the first are read.
    """
    instances = [place for place in places if layout == "coco" and place.rpartition("/")[2].startswith("instances_")]
    read = instances or list(places)
    parts = [_OF_MANY[layout](places[place], survey.path(place), _folder(place)) for place in read]
    document = parts[0] if len(parts) == 1 else Document(layout, survey.folder)
    for each in parts if len(parts) > 1 else []:
        document.entries += each.entries
        document.categories += [name for name in each.categories if name not in document.categories]
        document.canonical |= each.canonical
        document.doubts.extend(each.doubts.found())
        objects = sum(len(entry.shapes) for entry in each.entries)
        place = below(survey.folder, each.place)
        document.doubts.add("splits", f"{place} ({len(each.entries)} images, {objects} annotations)")
    for place in places:
        if place not in read:
            document.doubts.add("unread_files", place)
    return document
