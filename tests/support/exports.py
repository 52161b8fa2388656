"""One set of annotated images as different tools export it, written after the tools' own descriptions of their formats.

An object is (centre x, centre y, width, height, degrees clockwise), in pixels.
"""

import json
import math
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from folders import picture

SIZE = (320, 240)
NAMES = [f"sign {k:02}.jpg" for k in range(12)]


def truth(turned, seed=0):
    """Twelve images of one to three objects each, well inside; at any angle if turned."""
    rng = np.random.default_rng(seed)
    images = []
    for k in range(12):
        objects = []
        for n in range(1 + k % 3):
            width, height = rng.uniform(24, 60, 2)
            x, y = 60 + 95 * n + rng.uniform(-8, 8), rng.uniform(60, 180)
            objects.append((x, y, width, height, float(rng.uniform(-180, 180)) if turned else 0.0))
        images.append(objects)
    return images


def gazes_of(objects):
    """The inscribed squares, as gazes."""
    found = []
    for x, y, width, height, degrees in objects:
        half, turn = min(width, height) / 2, math.radians(degrees)
        found.append((half * math.cos(turn), half * math.sin(turn), x, y))
    return np.array(sorted(found, key=lambda u: u[2]))


def corners_of(x, y, width, height, degrees):
    """Upper left first, then clockwise, in the object's own frame."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    square = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [(x + c * p * width / 2 - s * q * height / 2, y + s * p * width / 2 + c * q * height / 2) for p, q in square]


def write_images(folder, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        picture(*SIZE, seed=k).save(folder / name)


def coco_document(images, names=NAMES):
    annotations = []
    for k, objects in enumerate(images):
        for x, y, width, height, degrees in objects:
            fields = {"id": len(annotations) + 1, "image_id": k + 1, "category_id": 1, "iscrowd": 0}
            fields |= {"bbox": [x - width / 2, y - height / 2, width, height], "area": width * height}
            if degrees:
                fields["attributes"] = {"occluded": False, "rotation": degrees % 360}
            annotations.append(fields)
    listed = [{"id": k + 1, "file_name": n, "width": SIZE[0], "height": SIZE[1]} for k, n in enumerate(names)]
    categories = [{"id": 1, "name": "sign", "supercategory": ""}]
    return {"licenses": [], "info": {}, "categories": categories, "images": listed, "annotations": annotations}


def coco(folder, images):
    """annotations.json with the images in images/."""
    write_images(folder / "images")
    (folder / "annotations.json").write_text(json.dumps(coco_document(images)))


def coco_of_cvat(folder, images):
    write_images(folder / "images" / "default")
    (folder / "annotations").mkdir()
    text = json.dumps(coco_document(images))
    (folder / "annotations" / "instances_default.json").write_text(text)


def coco_of_roboflow(folder, images):
    """Each split with its images and its file; category 0 is unused; names end in a hash."""
    (folder).mkdir()
    (folder / "README.roboflow.txt").write_text("signs\n==============================\n")
    for split, part in (("train", range(8)), ("valid", range(8, 10)), ("test", range(10, 12))):
        names = [NAMES[k].replace(" ", "-").replace(".jpg", f"_jpg.rf.{k:032x}.jpg") for k in part]
        write_images(folder / split, names)
        document = coco_document([images[k] for k in part], names)
        document["categories"].insert(0, {"id": 0, "name": "signs", "supercategory": "none"})
        (folder / split / "_annotations.coco.json").write_text(json.dumps(document))


def coco_of_fiftyone(folder, images):
    write_images(folder / "data")
    (folder / "labels.json").write_text(json.dumps(coco_document(images)))


def voc_file(name, objects):
    text = ["<annotation>", "<folder>signs</folder>", f"<filename>{escape(name)}</filename>"]
    text.append(f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height><depth>3</depth></size>")
    for x, y, width, height, degrees in objects:
        sides = {"xmin": x - width / 2, "ymin": y - height / 2, "xmax": x + width / 2, "ymax": y + height / 2}
        box = "".join(f"<{side}>{round(value)}</{side}>" for side, value in sides.items())
        turned = f"<attribute><name>rotation</name><value>{degrees}</value></attribute>" if degrees else ""
        text.append("<object><name>sign</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>")
        text.append(f"<bndbox>{box}</bndbox><attributes>{turned}</attributes></object>")
    return "\n".join([*text, "</annotation>"])


def voc(folder, images):
    write_images(folder / "JPEGImages")
    (folder / "Annotations").mkdir()
    for name, objects in zip(NAMES, images, strict=True):
        (folder / "Annotations" / f"{name[:-4]}.xml").write_text(voc_file(name, objects))


def voc_of_labelimg(folder, images):
    """Beside the images."""
    write_images(folder)
    for name, objects in zip(NAMES, images, strict=True):
        (folder / f"{name[:-4]}.xml").write_text(voc_file(name, objects))


def yolo_line(x, y, width, height, degrees):
    w, h = SIZE
    return f"0 {x / w:.6f} {y / h:.6f} {width / w:.6f} {height / h:.6f}"


def obb_line(*box):
    return "0 " + " ".join(f"{p / SIZE[0]:.6f} {q / SIZE[1]:.6f}" for p, q in corners_of(*box))


def yolo(folder, images, line=yolo_line):
    """Ultralytics' own: images/train and labels/train beside each other, and data.yaml above."""
    for split, part in (("train", range(9)), ("val", range(9, 12))):
        write_images(folder / "images" / split, [NAMES[k] for k in part])
        (folder / "labels" / split).mkdir(parents=True)
        for k in part:
            text = "".join(line(*box) + "\n" for box in images[k])
            (folder / "labels" / split / f"{NAMES[k][:-4]}.txt").write_text(text)
    (folder / "data.yaml").write_text("path: ../signs\ntrain: images/train\nval: images/val\nnames:\n  0: sign\n")


def yolo_of_roboflow(folder, images):
    write_images(folder / "train" / "images")
    (folder / "train" / "labels").mkdir()
    for name, objects in zip(NAMES, images, strict=True):
        text = "\n".join(yolo_line(*box) for box in objects)
        (folder / "train" / "labels" / f"{name[:-4]}.txt").write_text(text)
    (folder / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['sign']\n")


def yolo_of_cvat(folder, images):
    """YOLO 1.1: labels beside the images, names in obj.names."""
    write_images(folder / "obj_train_data")
    for name, objects in zip(NAMES, images, strict=True):
        text = "\n".join(yolo_line(*box) for box in objects)
        (folder / "obj_train_data" / f"{name[:-4]}.txt").write_text(text)
    (folder / "obj.names").write_text("sign\n")
    (folder / "obj.data").write_text("classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
    (folder / "train.txt").write_text("".join(f"data/obj_train_data/{name}\n" for name in NAMES))


def yolo_obb(folder, images):
    yolo(folder, images, obb_line)


def labelme(folder, images):
    write_images(folder)
    for name, objects in zip(NAMES, images, strict=True):
        shapes = []
        for x, y, width, height, degrees in objects:
            corners = [[x - width / 2, y - height / 2], [x + width / 2, y + height / 2]]
            kind = "rectangle"
            if degrees:
                corners, kind = [list(p) for p in corners_of(x, y, width, height, degrees)], "oriented_rectangle"
            shape = {"label": "sign", "points": corners, "group_id": None, "shape_type": kind, "flags": {}}
            shapes.append(shape)
        document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": "iVBORw0KGgo="}
        document |= {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}
        (folder / f"{name[:-4]}.json").write_text(json.dumps(document))


def label_studio_value(x, y, width, height, degrees):
    left, top = corners_of(x, y, width, height, degrees)[0]
    w, h = SIZE
    value = {"x": 100 * left / w, "y": 100 * top / h, "width": 100 * width / w, "height": 100 * height / h}
    return {**value, "rotation": degrees % 360, "rectanglelabels": ["sign"]}


def label_studio(folder, images):
    """Tasks of uploaded pictures, which the tool has renamed; the user's own copies keep their names."""
    write_images(folder)
    tasks = []
    for k, (name, objects) in enumerate(zip(NAMES, images, strict=True)):
        results = [
            {
                "id": f"r{k}-{n}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
                "original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0,
                "value": label_studio_value(*box),
            }
            for n, box in enumerate(objects)
        ]  # fmt: skip
        upload = f"/data/upload/3/{k:08x}-{name.replace(' ', '_')}"
        annotations = [{"id": k, "was_cancelled": False, "result": results}]
        tasks.append({"id": k + 1, "data": {"image": upload}, "annotations": annotations, "predictions": []})
        (folder / name).rename(folder / name.replace(" ", "_"))
    (folder / "project-3-at-2026-01-01-00-00-0a1b2c3d.json").write_text(json.dumps(tasks))


def label_studio_min(folder, images):
    write_images(folder)
    items = []
    for k, (name, objects) in enumerate(zip(NAMES, images, strict=True)):
        regions = [
            {**label_studio_value(*box), "original_width": SIZE[0], "original_height": SIZE[1]} for box in objects
        ]
        address = f"/data/local-files/?d=signs/{name.replace(' ', '%20')}"
        items.append({"image": address, "id": k + 1, "label": regions, "annotator": 1, "annotation_id": k})
    (folder / "project-3-min.json").write_text(json.dumps(items))


def cvat(folder, images):
    write_images(folder / "images")
    text = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "<version>1.1</version>"]
    text.append("<meta><task><labels><label><name>sign</name></label></labels></task></meta>")
    for k, (name, objects) in enumerate(zip(NAMES, images, strict=True)):
        text.append(f'<image id="{k}" name={quoteattr(name)} width="{SIZE[0]}" height="{SIZE[1]}">')
        for x, y, width, height, degrees in objects:
            sides = f'xtl="{x - width / 2:.2f}" ytl="{y - height / 2:.2f}" xbr="{x + width / 2:.2f}"'
            turned = f' rotation="{degrees % 360:.2f}"' if degrees else ""
            text.append(f'<box label="sign" {sides} ybr="{y + height / 2:.2f}"{turned} occluded="0" z_order="0"></box>')
        text.append("</image>")
    (folder / "annotations.xml").write_text("\n".join([*text, "</annotations>"]))


UPRIGHT = {
    each.__name__: each
    for each in (
        coco, coco_of_cvat, coco_of_roboflow, coco_of_fiftyone, voc, voc_of_labelimg, yolo, yolo_of_roboflow,
        yolo_of_cvat, yolo_obb, labelme, label_studio, label_studio_min, cvat,
    )
}  # fmt: skip
TURNED = {
    name: UPRIGHT[name]
    for name in UPRIGHT
    if name not in ("yolo", "yolo_of_roboflow", "yolo_of_cvat")  # upright boxes alone
}
