"""RUN/report.html: everything known of a run as one file that asks nothing of anybody; and RUN/README.md, its card.

The page is made from whatever there is; sections whose material is missing are left out. Pictures lie in it as data,
style and script too; a content policy forbids any request, and any script but the page's own.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from foveate.errors import BadInput
from foveate.report import learning, sections
from foveate.report.charts import number, percent
from foveate.report.curves import phases, readable
from foveate.report.export import model_card
from foveate.report.gallery import Photographs
from foveate.report.model import examined_model
from foveate.report.results import BoundStory, LearnStory, LocalizationStory, TableStory, TrainingStory
from foveate.report.story import PatchStory, ScenesStory
from foveate.storage.config import read_toml
from foveate.storage.files import read_lines, write_atomic

LIMIT = 9_500_000
"""Bytes the page stays under, by showing fewer scenes if it must."""

SHOWN = (24, 12, 6, 3, 1)


@dataclass
class Material:
    """What was found in a RUN folder."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    scenes: list[ScenesStory] = field(default_factory=list)
    patches: PatchStory | None = None
    localization: list[LocalizationStory] = field(default_factory=list)
    bounds: list[BoundStory] = field(default_factory=list)
    learned: list[LearnStory] = field(default_factory=list)
    tables: list[TableStory] = field(default_factory=list)
    training: list[TrainingStory] = field(default_factory=list)


def write_report(run_path: Path | str, out: Path | str | None = None, reload: int | None = None) -> Path:
    """Writes the page of a run, and beside it the model's card.

    Args:
        run_path: A RUN folder, or any folder with a `story` in it, which gets no card.
        out: Where to write the page, without a card; by default RUN/report.html.
        reload: Seconds after which the page is to load itself again, in a run that goes on.

    Returns:
        Where it was written.

    Raises:
        BadInput: No such folder, nothing in it to report, or something in it is damaged.
    """
    path = Path(run_path)
    target = Path(out) if out is not None else path / "report.html"
    material = gather(path)
    write_atomic(target, render(material, reload))
    if out is None and material.config:
        write_atomic(path / "README.md", card(material))
    return target


def card(material: Material) -> str:
    """The model's card, with the figures that the page has."""
    localization = {story.name: story.figures for story in material.localization}
    return model_card(material.config, localization, {story.name: story.figures for story in material.bounds})


def gather(path: Path) -> Material:
    """Reads what there is to tell.

    Raises:
        BadInput: As `write_report`.
    """
    if not path.is_dir():
        raise BadInput(f"{path}: not a RUN folder" if path.exists() else f"{path}: no such RUN folder")
    story = path / "story"
    found = Material(
        path,
        scenes=ScenesStory.load_all(story),
        patches=next(iter(PatchStory.load_all(story)), None),
        localization=LocalizationStory.load_all(story),
        bounds=BoundStory.load_all(story),
        learned=LearnStory.load_all(story),
        tables=TableStory.load_all(story),
        training=TrainingStory.load_all(story),
    )
    if (path / "config.toml").is_file():
        found.config = read_toml(path / "config.toml")
        found.config_text = (path / "config.toml").read_text(encoding="utf-8")
    if (path / "metrics.jsonl").is_file():
        found.records = read_lines(path / "metrics.jsonl")[0]
    known = ("config", "records", "scenes", "patches", "localization", "bounds", "learned", "tables", "training")
    if not any(getattr(found, name) for name in known) and not (path / "gdbn.safetensors").is_file():
        raise BadInput(f"{path}: nothing to report (no config.toml, metrics.jsonl, gdbn.safetensors or story in it)")
    return found


def render(material: Material, reload: int | None = None) -> bytes:
    """The page in UTF-8; with as many scenes as keep it under its limit."""
    model = examined_model(material.path, material.patches)
    content = b""
    for shown in SHOWN:
        content = _render(material, model, shown, reload)
        if len(content) < LIMIT:
            break
    return content


def _render(material: Material, model: dict[str, Any] | None, shown: int, reload: int | None) -> bytes:
    photographs = Photographs()
    scenes, player = sections.scene_sets(material.scenes, photographs, shown)
    learned = [learning.learned(story, photographs, min(8, shown)) for story in material.learned]
    facts = sections.facts(material.training, material.config)
    script, style = _part("player.js"), _part("page.css")
    context = {
        "title": _title(material),
        "reload": reload,
        "run": material.path.resolve().name,
        "written": datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
        "tiles": sections.tiles(material.localization, material.bounds, material.learned, material.training),
        "hero": sections.hero(material.patches),
        "facts": facts,
        "rejected": sections.rejections(material.training),
        "player": player,
        "sets": scenes,
        "photographs": photographs.uris,
        "localization": [sections.localization(story) for story in material.localization],
        "model": model,
        "phases": phases(material.records),
        "bounds": [sections.bound(story) for story in material.bounds],
        "learned": learned,
        "tables": material.tables,
        "config": material.config_text,
        "script": Markup(script),
        "script_hash": _hash(script),
        "style": Markup(style),
    }
    return _environment().get_template("page.html").render(context).encode("utf-8", errors="replace")


def _title(material: Material) -> str:
    category = next((t.facts["category"] for t in material.training if t.facts.get("category")), None)
    category = category or _find(material.config, "category")
    return (
        f"Looking for \N{LEFT DOUBLE QUOTATION MARK}{category}\N{RIGHT DOUBLE QUOTATION MARK}" if category else "Report"
    )


def _find(tree: Any, key: str) -> str | None:
    """The first text under this key, however deep."""
    if not isinstance(tree, dict):
        return None
    if isinstance(tree.get(key), str) and tree[key]:
        return tree[key]
    return next((found for item in tree.values() if (found := _find(item, key))), None)


def _part(name: str) -> str:
    return (files("foveate.report") / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, readable=readable, cell=_cell)
    return environment


def _cell(value: Any) -> str:
    """A figure or a word of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 4) if isinstance(value, int | float) else "\N{EN DASH}" if value is None else str(value)
