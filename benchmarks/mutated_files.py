"""Annotation files and pictures, whole ones and ones that nobody would write: what the reading is fuzzed with."""

import copy
import io
import json
import re
import struct
import sys
from pathlib import Path
from xml.sax.saxutils import escape

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


def base_files():
    """By layout: which file of a folder of four pictures is mutated, and what it holds when it is whole."""
    size = {"original_width": 64, "original_height": 48, "image_rotation": 0}
    box = {"x": 10, "y": 10, "width": 40, "height": 40, "rotation": 30, "rectanglelabels": ["face"]}
    brush = {"format": "rle", "rle": [0, 0, 48, 0, 56, 103, 128, 64, 7, 248], "brushlabels": ["face"]}
    ring = {"points": [[10, 10], [50, 10], [30, 60]], "polygonlabels": ["face"]}
    point = {"x": 20, "y": 20, "width": 1, "keypointlabels": ["nose"]}
    oval = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 5, "ellipselabels": ["face"]}
    values = (("rectangle", box), ("brush", brush), ("polygon", ring), ("keypoint", point), ("ellipse", oval))
    results = [{"id": f"r{k}", "type": f"{kind}labels", "value": v, **size} for k, (kind, v) in enumerate(values)]
    results[3]["parentID"] = "r0"
    tasks = [
        {"id": k, "data": {"image": f"/data/upload/1/0a1b2c3d-{k}.png"}, "annotations": [{"result": results}]}
        for k in range(4)
    ]
    least = [{"image": f"/data/local-files/?d=images/{k}.png", "label": [{**box, **size}]} for k in range(4)]
    shapes = [
        {"label": "face", "points": points, "group_id": group, "shape_type": kind, "flags": {}, "mask": MASK}
        for kind, points, group in (
            ("rectangle", [[5, 5], [25, 25]], 1), ("point", [[9, 9]], 1), ("circle", [[30, 30], [40, 30]], None),
            ("mask", [[1, 1], [8, 8]], None), ("oriented_rectangle", [[30, 5], [40, 9], [36, 19], [26, 15]], 2),
            ("polygon", [[1, 1], [9, 1], [9, 9], [3, 14], [1, 9]], None),
        )
    ]  # fmt: skip
    labelme = {"shapes": shapes, "imagePath": "0.png", "imageData": None, "imageHeight": 48, "imageWidth": 64}
    return {
        "COCO": ("annotations.json", base_document()),
        "Label Studio": ("export.json", tasks),
        "Label Studio, min": ("export.json", least),
        "labelme": ("images/0.json", labelme),
        "Pascal VOC": ("images/0.xml", VOC),
        "CVAT": ("annotations.xml", CVAT),
        "YOLO": ("images/0.txt", "0 .5 .5 .2 .2\n0 .1 .1 .3 .1 .3 .3 .1 .3\n1 .1 .1 .3 .1 .3 .3 .1 .3 .05 .2\n"),
        "YOLO's data.yaml": ("data.yaml", "path: ../faces\nnames: {0: face, 1: sign}\nkpt_shape: [3, 3]\n"),
    }


MASK = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAFElEQVR4nGNk+M8ABkxQmhjG/8MGAO1cAx2Vz4aEAAAAAElFTkSuQmCC"
VOC = """<?xml version="1.0"?><annotation><folder>images</folder><filename>0.png</filename>
<size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>face</name><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>25</xmax><ymax>25</ymax></bndbox>
<attributes><attribute><name>rotation</name><value>30</value></attribute></attributes></object>
<object><name>face</name><robndbox><cx>30</cx><cy>30</cy><w>9</w><h>9</h><angle>0.3</angle></robndbox></object>
<object><name>face</name><polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1</y2><x3>9</x3><y3>9</y3></polygon></object>
</annotation>"""
CVAT = """<?xml version="1.0"?><annotations><version>1.1</version>
<meta><task><labels><label><name>face</name></label></labels></task></meta>
<image id="0" name="0.png" width="64" height="48">
<box label="face" xtl="5" ytl="5" xbr="25" ybr="25" rotation="30"></box>
<ellipse label="face" cx="30" cy="30" rx="9" ry="5" rotation="5"></ellipse>
<polygon label="face" points="1,1;9,1;9,9"></polygon>
<mask label="face" rle="4, 8, 4" left="5" top="5" width="4" height="4"></mask>
<skeleton label="face"><points label="nose" points="9,9" outside="0"></points></skeleton></image>
<image id="1" name="images/1.png" width="64" height="48"></image>
<image id="2" name="2.png" width="64" height="48"></image><image id="3" name="3.png" width="64" height="48"></image>
</annotations>"""
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file://{}">]>'


def names_outside(outside):
    """Names that lead to a file next to the folder."""
    base = Path(outside).name
    return [outside, f"../{base}", f"images/../../{base}", f"%2e%2e/{base}", "..", f"/data/local-files/?d=../{base}"]


def mutated_file(rng, whole, outside):
    """A file's bytes: the whole document or text with a few values changed, and at times its bytes as well."""
    data = mutated_text(rng, whole, outside) if isinstance(whole, str) else mutated_json(rng, whole, outside)
    return mutated_bytes(rng, data) if rng.random() < 0.3 else data


def mutated_json(rng, whole, outside):
    document = copy.deepcopy(whole)
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
        elif kind == 1:
            texts = [each for each in where if isinstance(value_at(document, each), str)]
            names = names_outside(outside)
            if texts:
                document = put(document, texts[rng.integers(len(texts))], names[rng.integers(len(names))])
        else:
            value = NASTY[rng.integers(len(NASTY))]
            document = put(document, at, json.loads(json.dumps(value)) if isinstance(value, dict | list) else value)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    data = json.dumps(document).encode()
    sys.set_int_max_str_digits(limit)
    return data


def mutated_text(rng, whole, outside):
    """XML, YAML or lines with words replaced, doubled or left out, and entities declared where there are angles."""
    words = re.findall(r"[\w./-]+|\W", whole)
    spoilt = [*NASTY_WORDS, *names_outside(outside)]
    values = [at for at in range(9, len(words)) if words[at - 1] in '>"' and words[at][0].isalnum()]
    for _ in range(rng.integers(1, 5)):
        at = int(values[rng.integers(len(values))] if values and rng.random() < 0.9 else rng.integers(len(words)))
        match rng.integers(5):
            case 0:
                words[at] = ""
            case 1:
                words[at] = words[at] * int(rng.integers(2, 4))
            case _:
                word = spoilt[rng.integers(len(spoilt))]
                words[at] = escape(word, {'"': "&quot;"}) if values and rng.random() < 0.8 else word
    text = "".join(words)
    if "<" in text and rng.random() < 0.1:
        head, _, tail = text.partition("?>")
        text = head + "?>" + (BOMB if rng.random() < 0.5 else OUTSIDE.format(outside)) + tail.replace("face", "&a;")
    return text.encode("utf-8", "surrogatepass")


NASTY_WORDS = [
    *("nan", "inf", "-inf", "1e999", "-1", "0", "1e6", "9" * 20, "x", "<", ">", "&a;", "]]>", "<!--", "\0", "\n", "é"),
    *("\u202e", "*a", "&a [*a]", "!!python/object/apply:os.system [ls]", "{", "[" * 300, "- " * 200, "%", "0x1", "1_0"),
]


def value_at(document, at):
    for key in at:
        document = document[key]
    return document


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
