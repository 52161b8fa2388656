"""From the story's chapters to what the page's template shows."""

from typing import Any

from foveate.report.charts import Plot, Row, Series, lines, number, percent, ranking, reliability
from foveate.report.curves import readable
from foveate.report.export import figure_at
from foveate.report.figures import average, wall
from foveate.report.gallery import Photographs, card, player_scene, two_stages
from foveate.report.learning import gap_closed
from foveate.report.pictures import as_picture, data_uri, jpeg, picture_uri
from foveate.report.results import BoundStory, LearnStory, LocalizationStory, TrainingStory
from foveate.report.story import REJECTED_SHOWN, PatchStory, ScenesStory, mixed
from foveate.storage.files import strict

BASELINES = {
    "diagonal": "Diagonal Gaussian",
    "factor_analysis": "Factor analysis",
    "ppca": "Probabilistic PCA",
    "ledoit_wolf": "Full covariance (Ledoit-Wolf)",
}
GAUSSIAN = (0.6827, 0.9545)


def hero(patches: PatchStory | None) -> dict[str, Any] | None:
    """The headline: the average of whole scenes, of shaken windows and of aligned ones, and the wall of crops."""
    if patches is None or not len(as_picture(patches.patches)):
        return None
    crops = patches.crops if patches.crops is not None and len(patches.crops) else patches.patches  # type: ignore[arg-type]
    aligned = patches.aligned_mean if patches.aligned_mean is not None else average(crops)  # type: ignore[arg-type]
    tall = as_picture(crops)  # type: ignore[arg-type]
    shown = tall[: (len(tall) // 15) * 15 or len(tall)][:120]
    means = [
        ("scenes", patches.scene_mean, "Whole scenes", "All scenes as they are, each scaled to one square."),
        ("shaken", patches.jittered_mean, "Shaken windows", "Windows near the object, at random."),
        ("aligned", aligned, "Aligned windows", "The same objects, each through its own gaze."),
    ]
    return {
        "means": [
            {"key": key, "uri": picture_uri(mean), "title": title, "text": text}
            for key, mean, title, text in means
            if mean is not None
        ],
        "wall": data_uri(jpeg(wall(shown, min(15, len(shown)), gap=0).convert("RGB"), 84)),
        "shown": len(shown),
        "total": patches.total,
    }


def scene_sets(stories: list[ScenesStory], photographs: Photographs, shown: int) -> tuple[list[dict[str, Any]], list]:
    """The attended scenes: for each set its cards and its two stages, and all their scenes for the player."""
    sets, player = [], []
    for story in stories:
        cards, stages = [], []
        for scene in mixed(story.scenes, shown):
            photo = photographs.add(scene)
            key = len(player) if scene.steps else None
            if scene.steps:
                player.append(player_scene(scene, photo) | {"set": story.name})
            cards.append(card(scene, photo, key))
            if len(stages) < 4 and scene.success is not False and (pair := two_stages(scene, photo)):
                stages.append(pair)
        good = [item for item in cards if item["success"] is not False]
        bad = [item for item in cards if item["success"] is False]
        sets.append(
            {
                "name": story.name,
                "good": good,
                "bad": bad,
                "columns": _columns(len(good), len(bad)),
                "judged": any(item["success"] is not None for item in cards),
                "stages": stages,
                "shown": len(cards),
                "total": story.total,
                "successes": story.successes,
                "failures": story.failures,
            }
        )
    return [one for one in sets if one["shown"]], player


def _columns(good: int, bad: int, across: int = 6) -> tuple[int, int]:
    """How many cards stand side by side among successes and among failures, so that all are of one size."""
    if not good or not bad:
        return across, across
    for_bad = min(max(round(across * bad / (good + bad)), 1), across - 1)
    return across - for_bad, for_bad


def facts(training: list[TrainingStory], config: dict[str, Any]) -> list[tuple[str, Any]]:
    """What was trained on what: training's own facts first, then what the configuration says of seed and version."""
    rows = [(key, value) for story in training for key, value in story.facts.items()]
    known = {key for key, _ in rows}
    for key, value in config.items():
        name = "folder of scenes" if key == "scenes" and isinstance(value, str) else key
        if name not in known and isinstance(value, str | int | float):
            rows.append((name, value))
    return rows


def rejections(training: list[TrainingStory]) -> dict[str, Any] | None:
    """What was left out of training, and why."""
    rows = [row for story in training for row in story.rejected]
    reasons: dict[str, int] = {}
    for story in training:
        for reason, count in story.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    total = sum(story.rejected_total for story in training)
    return {"rows": rows, "total": total, "reasons": reasons} if rows or any(reasons.values()) else None


def localization(story: LocalizationStory) -> dict[str, Any]:
    """Charts and figures of `evaluate localization`."""
    figures = story.figures
    plots = [_by_step(figures), _by_threshold(story), _reliability(story)]
    return {
        "name": story.name,
        "charts": [plot for plot in plots if plot is not None],
        "rows": _localization_rows(figures),
        "calibration": _shares(figures),
        "wrong": [str(name) for name in (figures.get("wrong") or [])[:REJECTED_SHOWN]],
        "wrong_total": len(figures.get("wrong") or []),
    }


def _by_step(figures: dict[str, Any]) -> Plot | None:
    rows = [row for row in figures.get("by_step") or [] if row[1] is not None]
    if len(rows) < 2:
        return None
    curve = Series("", [row[0] for row in rows], [row[1] for row in rows])
    svg = lines([curve], "inference step", shares=True, dots=len(rows) < 20, words="Best gaze right")
    return Plot("Best gaze right, by step", svg, "IoU above 0.5 with a truth; step 0 is the start.")


def _by_threshold(story: LocalizationStory) -> Plot | None:
    tables = [
        ("best gaze of a photograph", story.top1_by_iou or story.figures.get("top1"), "a"),
        ("every object", story.figures.get("recall"), "b"),
    ]
    series = []
    for name, table, tone in tables:
        points = sorted((float(at), value) for at, value in (table or {}).items() if value is not None)
        if len(points) > 1:
            series.append(Series(name, [at for at, _ in points], [value for _, value in points], tone))
    if not series:
        return None
    svg = lines(series, "IoU at least", shares=True, dots=True, words="Share found", whole=False)
    return Plot("Found, by overlap asked for", svg, legend=[(one.name, one.tone) for one in series])


def _reliability(story: LocalizationStory) -> Plot | None:
    rows = story.reliability or figure_at(story.figures, "calibration", "reliability") or []
    bins = [[float(value) for value in row] for row in rows if None not in row and row[2] > 0]
    if not bins:
        return None
    ece = figure_at(story.figures, "calibration", "ece")
    text = f"Expected calibration error {number(ece)}. " if ece is not None else ""
    svg = reliability(bins, "Probabilities stated and how often they were right")
    return Plot("Are the probabilities honest?", svg, f"{text}On the diagonal they are; areas are counts.")


def _localization_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Photographs", number(figures.get("photos"))),
        ("Annotated objects", number(figures.get("objects"))),
        ("Best gaze right (IoU > 0.5)", percent(figure_at(figures, "top1", "0.5"), 1)),
        ("Objects found (IoU > 0.5)", percent(figure_at(figures, "recall", "0.5"), 1)),
        ("False positives a photograph", number(figures.get("false_positives_per_photo"))),
        ("Angle error, median / 90\u202f%", _pair(figures.get("angle_error_degrees"), "\N{DEGREE SIGN}")),
        ("Centre error in half-sides, median / 90\u202f%", _pair(figures.get("centre_error"), "")),
        ("Scale error, median / 90\u202f%", _pair(figures.get("scale_error"), "")),
        ("Seconds a photograph", number(figures.get("seconds_per_photo"))),
    ]
    return [(name, text) for name, text in rows if text.strip("\N{EN DASH}\N{DEGREE SIGN} /")]


def _pair(value: Any, unit: str) -> str:
    values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return " / ".join(number(item) + unit for item in values if isinstance(item, int | float))


def _shares(figures: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Shares of truths within one and two posterior deviations, and what a Gaussian would give."""
    usual = f"{percent(GAUSSIAN[0])} and {percent(GAUSSIAN[1])}"
    rows = []
    for name in ("centre", "angle", "scale"):
        found = figure_at(figures, "calibration", name)
        if isinstance(found, list) and len(found) == 2 and None not in found:
            rows.append((name, percent(found[0]), percent(found[1]), usual))
    return rows


def bound(story: BoundStory) -> dict[str, Any]:
    """The bound with its bracket beside the baselines: log p >= bound, where log Z lies between its two estimates."""
    figures = story.figures
    value, log_z = figures.get("bound"), figures.get("log_z")
    lower, upper = figures.get("log_z_lower"), figures.get("log_z_upper")
    rows, wide = [], False
    if value is not None:
        low = high = None
        if log_z is not None and lower is not None and upper is not None:
            # The reverse estimate is noisy too and may fall below the forward one, which the bound was had with.
            low, high = value + log_z - max(upper, log_z), value + log_z - min(lower, log_z)
            wide = high - low > max(5.0, 0.02 * abs(value))
        rows.append(Row("GDBN, bound", value, low, high, strong=True))
        if (tighter := figures.get("iw_bound")) is not None:
            ends = (None, None) if low is None or high is None else (low + tighter - value, high + tighter - value)
            rows.append(Row("GDBN, importance-weighted", tighter, *ends, strong=True))
    if figures.get("grbm_log_density") is not None:
        rows.append(Row("First layer alone", figures["grbm_log_density"], strong=True))
    for key, nats in (figures.get("baselines") or {}).items():
        if isinstance(nats, int | float):
            rows.append(Row(BASELINES.get(str(key), readable(key)), nats))
    chart = ranking(rows, "nats a patch", "Mean log density of held-out patches") if rows else None
    offset = figures.get("pixel_offset")
    details = [
        ("Patches", number(figures.get("n"))),
        ("Standard error of the bound", number(figures.get("bound_stderr"))),
        ("log Z, forward", number(log_z, 5)),
        ("log Z between", f"{number(lower, 5)} and {number(upper, 5)}" if None not in (lower, upper) else ""),
        ("Standard error of log Z", number(figures.get("log_z_stderr"))),
        ("Effective sample size", f"{number(figures.get('ess'))} of {number(figures.get('chains'))} chains"),
        ("Temperatures", number(figures.get("temperatures"))),
        ("Bound in nats over pixels", number(value + offset, 5) if value is not None and offset is not None else ""),
    ]
    details = [(name, text) for name, text in details if text and not text.startswith("\N{EN DASH}")]
    return {"name": story.name, "chart": chart, "details": details, "wide": wide}


def tiles(
    places: list[LocalizationStory], bounds: list[BoundStory], learns: list[LearnStory], training: list[TrainingStory]
) -> list[dict[str, str]]:
    """At most four figures for the top of the page."""
    found = []
    for story in places[:2]:
        if (top1 := figure_at(story.figures, "top1", "0.5")) is not None:
            found.append(
                {"figure": percent(top1, 1), "text": f"best gaze right{', ' + story.name if story.name else ''}"}
            )
    for story in bounds[:1]:
        value = (
            story.figures.get("iw_bound") if story.figures.get("iw_bound") is not None else story.figures.get("bound")
        )
        if value is not None:
            found.append({"figure": number(value, 4), "text": "nats a patch, held out (lower bound)"})
    for story in learns[:1]:
        if (closed := gap_closed(story)) is not None:
            found.append({"figure": percent(closed), "text": "of the gap to known locations closed by learning"})
    for story in training[:1]:
        for key in ("objects", "scenes"):
            if isinstance(story.facts.get(key), int):
                found.append({"figure": number(story.facts[key]), "text": f"{key} trained on"})
                break
    return strict(found[:4])
