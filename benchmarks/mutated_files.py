"""Annotation files and pictures, whole ones and ones that nobody would write: what the reading is fuzzed with."""

import io
import json
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

NASTY = [
    *(None, True, False, 0, -1, 1, 2**63, 10**30, -(10**400), 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf")),
    *(
        "",
        "1",
        "nan",
        "\0",
        "\ud800",
        "x" * 5000,
        [],
        {},
        [[]],
        [None],
        {"": None},
        [1, 2],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
    ),
    *([float("nan")] * 4, [1e300] * 4, ["1"] * 4, [10, 10, 0, 0], [10, 10, -5, 5], [[1, 2, 3, 4]], list(range(9))),
]


def base_document():
    """Annotations with some of everything: keypoints, boxes, crowds, polygons, a second category."""
    points = ["eye_left_of_image", "eye_right_of_image", "mouth_centre"]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 0, "bbox": [5, 5, 20, 20], "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 0, "bbox": [5, 5, 20, 20], "keypoints": [9, 9, 2, 21, 9, 2, 15, 22, 1]},
        {"id": 3, "image_id": 3, "category_id": 0, "bbox": [5, 5, 20, 20], "keypoints": [9, 9, 2, 21, 9, 2, 0, 0, 0]},
        {"id": 4, "image_id": 3, "category_id": 0, "bbox": [1, 1, 9, 9], "iscrowd": 1, "segmentation": {"counts": [1]}},
        {
            "id": 5,
            "image_id": 4,
            "category_id": 0,
            "segmentation": [[1, 1, 9, 1, 9, 9]],
            "attributes": {"rotation": 30},
        },
    ]
    images = [{"id": 1 + i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(4)]
    categories = [{"id": 0, "name": "face", "keypoints": points}, {"id": 1, "name": "unused"}]
    info = {"canonical": {"mouth_centre": [0.0, 0.5]}}
    return {"info": info, "images": images, "annotations": annotations, "categories": categories}


def places(value, at=()):
    """Every path to a value inside nested lists and objects."""
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


def put(document, at, value):
    """The document with another value at a path; the document itself is changed in place where it can be."""
    if not at:
        return value
    holder = document
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return document


def mutated_annotations(rng, outside):
    document = base_document()
    names = [
        outside,
        f"../{Path(outside).name}",
        f"images/../../{Path(outside).name}",
        f"%2e%2e/{Path(outside).name}",
        "..",
    ]
    for _ in range(rng.integers(1, 5)):
        if not isinstance(document, dict | list):
            break
        where = list(places(document))
        at = where[rng.integers(len(where))]
        kind = rng.integers(5)
        if kind == 0 and at:
            holder = document
            for key in at[:-1]:
                holder = holder[key]
            del holder[at[-1]]
        elif (
            kind == 1 and isinstance(document, dict) and isinstance(document.get("images"), list) and document["images"]
        ):
            entry = document["images"][rng.integers(len(document["images"]))]
            if isinstance(entry, dict):
                entry["file_name"] = names[rng.integers(len(names))]
        else:
            value = NASTY[rng.integers(len(NASTY))]
            document = put(document, at, json.loads(json.dumps(value)) if isinstance(value, dict | list) else value)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    data = json.dumps(document).encode()
    sys.set_int_max_str_digits(limit)
    return mutated_bytes(rng, data) if rng.random() < 0.3 else data


def base_pictures():
    """Whole pictures of every format, with what makes them long: profiles, EXIF, palettes, deep grey, strips, scans."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274] = 6
    deep = Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257)
    kinds = [
        ("JPEG", colour, {"exif": exif, "icc_profile": bytes(200)}),
        ("JPEG", colour, {"progressive": True}),
        ("JPEG", colour.convert("CMYK"), {}),
        ("PNG", colour, {"exif": exif}),
        ("PNG", colour.quantize(64), {"transparency": 3}),
        ("PNG", deep, {}),
        ("WEBP", colour, {"exif": exif}),
        ("WEBP", colour.convert("RGBA"), {"lossless": True}),
        ("TIFF", colour, {"compression": "tiff_lzw"}),
        ("TIFF", colour, {"compression": "jpeg"}),
        ("TIFF", deep, {}),
        ("TIFF", colour.convert("1"), {"compression": "group4"}),
        ("GIF", colour.quantize(64), {"save_all": True, "append_images": [colour.rotate(90).quantize(64)]}),
        ("BMP", colour, {}),
        ("PPM", colour, {}),
        ("JPEG2000", colour, {}),
        ("AVIF", colour, {"exif": exif}),
        ("MPO", colour.copy(), {"save_all": True, "append_images": [colour.rotate(180)]}),
    ]
    pictures = []
    for kind, image, options in kinds:
        buffer = io.BytesIO()
        image.copy().save(buffer, kind, **options)
        pictures.append((kind, buffer.getvalue()))
    return pictures


def mutated_bytes(rng, data):
    """Bits flipped, numbers overwritten, parts cut, doubled, swapped or blanked; early bytes more often than late."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at = int(len(data) * rng.random() ** 3)
        length = int(rng.integers(1, 64))
        match rng.integers(7):
            case 0:
                data[at : at + 1] = bytes([rng.integers(256)])
            case 1:
                number = [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x8000, 0xFFFF, 60000][rng.integers(7)]
                order, short = "<>"[rng.integers(2)], rng.integers(2)
                packed = struct.pack(order + "H", number & 0xFFFF) if short else struct.pack(order + "I", number)
                data[at : at + len(packed)] = packed
            case 2:
                del data[at + length :]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                del data[at : at + length]
            case 5:
                data[at : at + length] = bytes(min(length, len(data) - at))
            case 6:
                data[at : at + length] = rng.bytes(min(length, max(0, len(data) - at)))
        if not data:
            break
    return bytes(data)
