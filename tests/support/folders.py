"""Folders of annotated images, made by the tests themselves."""

import json

import numpy as np
from PIL import Image


def picture(width=300, height=200, seed=0):
    """A smooth coloured picture with no symmetry."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def coco_folder(folder, boxes, size=(300, 200), categories=None, **more):
    """SCENES with annotations.json: `boxes` has, for each image, its name and a list of annotations, each a bbox or a
    table of fields. Names that exist on disk already are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (name, of_image) in enumerate(boxes, start=1):
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            picture(*size, seed=number).save(folder / name)
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        for each in of_image:
            fields = each if isinstance(each, dict) else {"bbox": list(each)}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": 1, **fields})
    categories = [{"id": 1, "name": "disc"}] if categories is None else categories
    document = {"images": images, "annotations": annotations, "categories": categories, **more}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder
