"""RUN/report.html: everything known of a run as one file that works offline; and RUN/README.md, its card.

The page is made from whatever there is; a section is left out where the run has nothing for it. Pictures lie in it as
data, style and script too; a content policy forbids any request, and any script but the page's own.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from foveate.errors import BadInput
from foveate.report import comparisons, sections
from foveate.report.charts import STRICT, number, part, percent
from foveate.report.comparisons import figure_at
from foveate.report.curves import phases, readable
from foveate.report.gallery import Photographs
from foveate.report.model import examined_model
from foveate.report.model_card import model_card
from foveate.report.results import AboutStory, BoundStory, LearnStory, LocalizationStory, TableStory, TrainingStory
from foveate.report.story import PatchStory, ScenesStory
from foveate.report.story_files import StoryFile
from foveate.storage.config import read_config, to_toml
from foveate.storage.files import read_lines, write_atomic
from foveate.storage.run import CONFIG, METRICS, STORY, Run

LIMIT = 9_500_000  # bytes the page stays under, by showing fewer scenes if it must

SHOWN = (24, 12, 6, 3, 1)
KINDS: dict[str, type[StoryFile]] = {
    "scenes": ScenesStory, "patches": PatchStory, "localization": LocalizationStory, "bounds": BoundStory,
    "learned": LearnStory, "tables": TableStory, "training": TrainingStory, "about": AboutStory,
}  # fmt: skip


@dataclass
class Contents:
    """What was found in a RUN folder."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    scenes: list[ScenesStory] = field(default_factory=list)
    patches: list[PatchStory] = field(default_factory=list)
    localization: list[LocalizationStory] = field(default_factory=list)
    bounds: list[BoundStory] = field(default_factory=list)
    learned: list[LearnStory] = field(default_factory=list)
    tables: list[TableStory] = field(default_factory=list)
    training: list[TrainingStory] = field(default_factory=list)
    about: list[AboutStory] = field(default_factory=list)


def write_report(path: Path, reload: int | None = None, pictures: bool = True) -> Path:
    """Writes the page of a run, and beside it the model's card; gives its path.

    `reload` are the seconds after which it loads itself again; without `pictures` it holds figures and names only. A
    folder that is no RUN, with a `story` in it, gets no card.
    """
    target, contents = path / "report.html", gather(path)
    write_atomic(target, render(contents if pictures else without_pictures(contents), reload, pictures))
    if contents.config:
        found, bounds = ({one.name: one.figures for one in kind} for kind in (contents.localization, contents.bounds))
        write_atomic(path / "README.md", model_card(contents.config, found, bounds))
    return target


def without_pictures(contents: Contents) -> Contents:
    """The same without anything that shows, or was drawn to look like, what the run has seen."""
    learned = [replace(story, start_mean=None, samples_before=None, samples_after=None) for story in contents.learned]
    for story in learned:
        story.rounds = [replace(done, attended_mean=None, scenes=[]) for done in story.rounds]
    return replace(contents, scenes=[], learned=learned)


def beside(path: Path) -> list[tuple[str, str]]:
    """Pages of other runs in and around a folder, and folders of scenes in it, as (name, address seen from it)."""
    found = [(page.parent.name, f"{page.parent.name}/{page.name}") for page in sorted(path.glob("*/report.html"))]
    above = path.resolve().parent
    if (above / "report.html").is_file():
        found.append((above.name, "../report.html"))
        pages = (page for page in sorted(above.glob("*/report.html")) if page.parent.name != path.resolve().name)
        found += [(page.parent.name, f"../{page.parent.name}/{page.name}") for page in pages]
    scenes = sorted(one.parent for one in path.glob("scenes/*/annotations.json"))
    found += [(f"scenes/{one.name}", f"scenes/{one.name}/") for one in scenes]
    return [(name, quote(address)) for name, address in found]


def published(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as others may see it: of folders on this machine the names, not where they are."""
    return {
        name: os.path.basename(os.path.normpath(value)) if isinstance(value, str) and os.path.isabs(value) else value
        for name, value in config.items()
    }


def gather(path: Path) -> Contents:
    """Reads what there is to show; raises as `write_report`."""
    Run.open(path, needs=())  # there is such a folder
    story, config, metrics = path / STORY, path / CONFIG, path / METRICS
    if not any(story.glob("*")) and not any(place.exists() for place in (config, metrics, path / "gdbn.safetensors")):
        raise BadInput(f"{path}: nothing to report (no config.toml, metrics.jsonl, gdbn.safetensors or story in it)")
    told = published(read_config(config)) if config.is_file() else {}
    kept: dict[str, Any] = {name: kind.load_all(story) for name, kind in KINDS.items()}
    return Contents(path, told, to_toml(told) if told else "", read_lines(metrics), **kept)


def render(contents: Contents, reload: int | None = None, pictures: bool = True) -> bytes:
    """The page in UTF-8; with as many scenes as keep it under its limit."""
    patches = next(iter(contents.patches), None)
    model, density = examined_model(contents.path, patches, pictures), comparisons.bounds(contents.bounds)
    bins = {story.name: figure_at(story.figures, "calibration", "reliability") or [] for story in contents.localization}
    page = b""
    for shown in SHOWN:
        photographs = Photographs()
        scenes, player = sections.scene_sets(contents.scenes, photographs, shown, bins, contents.path)
        learned = [sections.learned(story, photographs, min(8, shown)) for story in contents.learned]
        page = _fill(
            title=_title(contents),
            reload=reload,
            run=contents.path.resolve().name,
            written=datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
            verdict=[line for story in contents.training for line in story.verdict],
            headline=sections.headline(contents.localization, contents.bounds, contents.learned, contents.training),
            about=contents.about,
            others=beside(contents.path),
            warnings=sections.warnings(model, density, contents.learned),
            averages=sections.averages(patches) if pictures else None,
            facts=sections.facts(contents.training, contents.config),
            rejected=sections.rejections(contents.training),
            player=player,
            sets=scenes,
            photographs=photographs.uris,
            localization=comparisons.localization(contents.localization),
            model=model,
            phases=phases(contents.records),
            bounds=density,
            learned=learned,
            tables=[sections.table(story) for story in contents.tables],
            config=contents.config_text,
            glossary=json.loads(part("glossary.json")),
        )
        if len(page) < LIMIT:
            break
    return page


def _title(contents: Contents) -> str:
    told = (story.facts.get("category") for story in contents.training)
    category = next(filter(None, [*told, contents.config.get("category")]), None)
    quoted = f"\N{LEFT DOUBLE QUOTATION MARK}{category}\N{RIGHT DOUBLE QUOTATION MARK}"
    return f"Looking for {quoted}" if category else "Report"


def _fill(**context: Any) -> bytes:
    environment = jinja2.Environment(loader=jinja2.FunctionLoader(part), **STRICT)
    environment.filters.update(number=number, percent=percent, readable=readable, cell=_cell)
    script, style = part("player.js"), part("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"script": Markup(script), "script_hash": f"'sha256-{digest}'", "style": Markup(style)}
    return environment.get_template("page.html").render(context | own).encode("utf-8", errors="replace")


def _cell(value: Any) -> str:
    """A figure or a word of a table."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value, 4)
    return "\N{EN DASH}" if value is None else str(value)
