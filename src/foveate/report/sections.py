"""From what a run has kept to what the page's template shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from foveate.report.charts import Bins, Plot, Series, lines, number, percent, stacks
from foveate.report.comparisons import TONES, figure_at, interval
from foveate.report.gallery import Photographs, by_trouble, card, player_scene, two_stages, unlikely
from foveate.report.pictures import data_uri, jpeg, picture_uri, wall
from foveate.report.results import BoundStory, LearnStory, LocalizationStory, TableStory, TrainingStory
from foveate.report.story import WALL_SHOWN, PatchStory, ScenesStory, mixed, thin

WALL_COLUMNS = 15
STAGES_SHOWN = 4
MOST_ROUNDS = 8


def averages(patches: PatchStory | None) -> dict[str, Any] | None:
    """The average of whole scenes and of aligned windows, and the wall of aligned crops."""
    crops = None if patches is None else patches.patches if patches.crops is None else patches.crops
    if patches is None or crops is None or not len(crops):
        return None
    shown = crops[: len(crops) // WALL_COLUMNS * WALL_COLUMNS or len(crops)][:WALL_SHOWN]
    means = [
        ("scenes", patches.scene_mean, "Whole scenes", "All scenes as they are, each scaled to one square."),
        ("aligned", patches.aligned_mean, "Aligned windows", "The same objects, each through its own gaze."),
    ]
    return {
        "means": [
            {"key": key, "uri": picture_uri(mean), "title": title, "text": text}
            for key, mean, title, text in means
            if mean is not None
        ],
        "wall": data_uri(jpeg(wall(shown, WALL_COLUMNS, gap=0), 84)),
        "shown": len(shown),
        "total": patches.total,
    }


def scene_sets(
    stories: list[ScenesStory], photographs: Photographs, shown: int, bins: Mapping[str, Bins], page: Path
) -> tuple[list[dict[str, Any]], list]:
    """The attended scenes: for each set at most `shown` cards and its two stages, and all their scenes for the player.

    `bins` are reliability diagrams by the names of sets; where the whole image lies beneath the folder `page`, its name
    is a link.
    """
    sets, player = [], []
    for story in stories:
        cards, stages = [], []
        for scene in by_trouble(mixed(story.scenes, shown)):
            photo, link = photographs.add(scene), _link(page, story.folder, scene.name)
            key = len(player) if scene.steps else None
            reason = scene.note or unlikely(scene, bins.get(story.name, []))
            if scene.steps:
                player.append(player_scene(scene, photo) | {"set": story.name, "link": link, "reason": reason})
            cards.append(card(scene, photo, key) | {"link": link, "note": reason})
            if len(stages) < STAGES_SHOWN and scene.success is not False and (pair := two_stages(scene, photo)):
                stages.append(pair)
        good = [item for item in cards if item["success"] is not False]
        bad = [item for item in cards if item["success"] is False]
        judged, columns = any(item["success"] is not None for item in cards), _columns(len(good), len(bad))
        told = {"good": good, "bad": bad, "columns": columns, "judged": judged, "stages": stages, "shown": len(cards)}
        sets += [vars(story) | told] if cards else []
    return sets, player


def _link(page: Path, folder: str, name: str) -> str:
    """The address of a whole image as the page sees it; empty where it isn't beneath the page's folder."""
    path = (page / folder / name).resolve()
    there = folder and path.is_relative_to(page.resolve()) and path.is_file()
    return quote(path.relative_to(page.resolve()).as_posix()) if there else ""


def _columns(good: int, bad: int, across: int = 6) -> tuple[int, int]:
    """How many cards stand side by side among successes and among failures, so that all are of one size."""
    if not good or not bad:
        return across, across
    for_bad = min(max(round(across * bad / (good + bad)), 1), across - 1)
    return across - for_bad, for_bad


def facts(training: list[TrainingStory], config: dict[str, Any]) -> list[tuple[str, Any]]:
    """The training data: training's own facts first, then what the configuration says of seed and version."""
    rows = {key: value for story in training for key, value in story.facts.items()}
    for key, value in config.items():
        name = "folder of scenes" if key == "scenes" else key
        if name not in rows and isinstance(value, str | int | float):
            rows[name] = value
    return list(rows.items())


def rejections(training: list[TrainingStory]) -> dict[str, Any] | None:
    """What was left out of training, and why."""
    rows = [row for story in training for row in story.rejected]
    return {"rows": rows, "total": sum(story.rejected_total for story in training)} if rows else None


def headline(
    places: list[LocalizationStory], bounds: list[BoundStory], learns: list[LearnStory], training: list[TrainingStory]
) -> list[tuple[str, str, str]]:
    """The figures at the top of the page: each with what it is, and with its n and interval."""
    found = []
    for story in places[:4]:
        if (known := interval(story)) is not None:
            top1, n, low, high = known
            sure = f"n = {number(n)}; 95\u202f% interval {percent(low, 1)} to {percent(high, 1)}"
            if (floor := figure_at(story.figures, "constant_box", "0.5")) is not None:
                sure += f"; a constant box: {percent(floor, 1)}"
            found.append((percent(top1, 1), f"top-1 accuracy{', ' + story.name if story.name else ''}", sure))
    closed = next((story for story in learns if story.gap_closed is not None), None)
    if closed is not None and closed.bounds is not None:
        before, after, oracle = (number(nats, 4) for nats in closed.bounds)
        errors = ", ".join(number(one.figures["iw_stderr"], 2) for one in bounds if "iw_stderr" in one.figures)
        n = next((one.figures.get("n") for one in bounds), None)
        sure = f"from {before} to {after} of {oracle} nats per patch"
        sure += f"; n = {number(n)}, standard errors {errors}" if errors else ""
        found.append((percent(closed.gap_closed), "of the gap to known locations closed by learning", sure))
    for story in bounds[:1] if closed is None else []:
        figures = story.figures
        key, error = ("iw_bound", "iw_stderr") if "iw_bound" in figures else ("bound", "bound_stderr")
        if figures.get(key) is not None:
            sure = f"n = {number(figures.get('n'))}; standard error {number(figures.get(error), 2)}"
            found.append((number(figures[key], 4), "nats per held-out patch (lower bound on log density)", sure))
    for story in training[:1]:
        if "objects" in story.facts:
            found.append((number(story.facts["objects"]), "objects trained on", ""))
    return found


def warnings(
    model: dict[str, Any] | None, density: dict[str, Any] | None, learns: list[LearnStory]
) -> list[tuple[str, str, str]]:
    """What a reader must know before believing the rest: (what, in words, the section that shows it)."""
    findings = (model or {}).get("findings", [])
    found = [(one.name, f"{one.text}. {one.hint}", "model") for one in findings if not one.good]
    for name in density["wide"] if density is not None else []:
        text = "The chains of annealed importance sampling mix badly, so the bound may be over-estimated."
        found.append((f"The bracket is wide{': ' + name if name else ''}", text, "bounds"))
    for story in learns:
        found += [(f"Round {one.number} was undone", one.undone, "learned-1") for one in story.rounds if one.undone]
    return found


def table(story: TableStory) -> dict[str, Any]:
    """A table, and its charts: tones go by the names of lines, so that one method has one tone in all of them."""
    names = list(dict.fromkeys(name for _, _, drawn in story.curves for name, _, _ in drawn))
    tones = {name: TONES[k % len(TONES)] for k, name in enumerate(names)}
    charts = []
    for title, axis, drawn in story.curves:
        series = [Series(name, xs, ys, tones[name]) for name, xs, ys in drawn]
        svg = lines(series, axis, shares=True, dots=True, words=title, whole=False)
        charts.append(Plot(title, svg, legend=[(one.name, one.tone) for one in series]))
    return vars(story) | {"charts": charts}


def learned(story: LearnStory, photographs: Photographs, shown: int) -> dict[str, Any]:
    """Averages that sharpen from round to round, which scenes were used, the bound, samples before and after."""
    rounds = thin(story.rounds, MOST_ROUNDS)
    means = [("Whole scenes", story.start_mean), *((f"Round {item.number}", item.attended_mean) for item in rounds)]
    samples = [("Before", story.samples_before), ("After", story.samples_after)]
    share = max(1, shown // 2) if len(rounds) > 3 else shown
    return vars(story) | {
        "means": [{"title": title, "uri": picture_uri(mean)} for title, mean in means if mean is not None],
        "closed": story.gap_closed,
        "plots": _plots(story),
        "undone": [(item.number, item.undone) for item in story.rounds if item.undone],
        "rounds": [
            vars(item) | {"cards": [card(scene, photographs.add(scene), None) for scene in mixed(item.scenes, share)]}
            for item in rounds
        ],
        "samples": [
            {"title": title, "uri": data_uri(wall(drawn, 8, scale=2))} for title, drawn in samples if drawn is not None
        ],
    }


def _plots(story: LearnStory) -> list[Plot]:
    """Scenes used, and bounds before and after each round.

    The two bounds of a round are of the same patches, those of two rounds are not.
    """
    plots, curves = [], []
    if story.rounds:
        counts = [(str(item.number), item.accepted, item.rejected) for item in story.rounds]
        svg = stacks(counts, "Scenes used and not used, by round")
        plots.append(Plot("Scenes used", svg, legend=[("used", "a"), ("not used", "warn")]))
    bounds = {"before the round": [], "after it": []}
    for item in story.rounds:
        for points, nats in zip(bounds.values(), (item.bound_before, item.bound), strict=True):
            points += [(item.number, nats)] if nats is not None else []
    for (name, points), tone in zip(bounds.items(), "da", strict=True):
        if points:
            curves.append(Series(name, [x for x, _ in points], [y for _, y in points], tone))
    if curves:
        svg = lines(curves, "round", dots=True, words="Bound on held-out attended patches")
        legend = [(curve.name, curve.tone) for curve in curves]
        plots.append(Plot("Bound, by round", svg, "On the round's own held-out attended patches.", legend=legend))
    return plots
