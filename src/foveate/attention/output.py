"""What attention hands to people and to other programs: JSON and file names."""

import hashlib
import re
from typing import Any

from foveate.attention.found import Found
from foveate.storage.files import strict

FIGURES = ("u", "box", "scale", "angle", "score", "log_ratio", "probability", "std", "trail")
DIAGNOSTICS = ("pareto_k", "rhat", "ess", "acceptance")  # of `Refined`


def to_json(found: Found, width: int, height: int) -> dict[str, Any]:
    """A gaze as the lines of `attend` write it: strict JSON, null for what is not finite.

    Besides u, box, scale, angle, score, probability, std and trail: `inside`, the share of the box that lies in the
    image, the diagnostics of the posterior where there was one, the likeness where one is in mind, `modes` where the
    angle may be another, the visible share where it was asked for, and the category where several kinds are looked for.
    All is in pixels of the image in full.
    """
    gaze: dict[str, Any] = {name: getattr(found, name) for name in FIGURES}
    gaze["inside"] = _share_inside(found.box, width, height)
    if found.posterior is not None:
        gaze |= {name: getattr(found.posterior, name) for name in DIAGNOSTICS}
    if found.likeness is not None:
        gaze["likeness"] = found.likeness
    if found.visible is not None:
        gaze["visible"] = round(found.visible, 3)
    if found.category is not None:
        gaze["category"] = found.category
    region = {} if found.region is None else {"region": found.region._asdict()}
    modes = {"modes": [mode._asdict() for mode in found.modes]} if found.modes else {}
    return strict(gaze | modes | {"flags": found.flags} | region)


def output_name(image_name: str) -> str:
    """A file name (without suffix) for what is made from an image: readable, and never that of another image.

    It ends in a hash of the whole name, so names in other folders, with another suffix or in other case differ, also
    where the file system ignores case; and it depends on the name alone, so a resumed run finds the same. Letters are
    ASCII, it is short, hides nowhere and starts no option.
    """
    digest = hashlib.blake2b(image_name.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
    parts = [part for part in re.split(r"[/\\]+", image_name) if part not in ("", ".", "..")][-2:]
    if parts:
        parts[-1] = re.sub(r"(?<=.)\.[A-Za-z0-9]{1,5}$", "", parts[-1])
    readable = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(parts)).strip("-")[-40:].strip("-")
    return f"{readable or 'image'}-{digest}"


def _share_inside(box: tuple[float, float, float, float], width: int, height: int) -> float:
    x0, y0, x1, y1 = box
    across, down = min(x1, width) - max(x0, 0.0), min(y1, height) - max(y0, 0.0)
    area = (x1 - x0) * (y1 - y0)
    return max(across, 0.0) * max(down, 0.0) / area if area > 0.0 else 0.0
