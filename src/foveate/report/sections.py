"""From what a run has kept to what the page's template shows."""

from typing import Any

from foveate.evaluation.reliability import wilson
from foveate.report.charts import Plot, Row, Series, lines, number, percent, ranking, reliability
from foveate.report.curves import readable
from foveate.report.gallery import DEGREE, Photographs, card, player_scene, two_stages
from foveate.report.model_card import figure_at
from foveate.report.pictures import data_uri, jpeg, picture_uri, wall
from foveate.report.results import REJECTED_SHOWN, BoundStory, LearnStory, LocalizationStory, TrainingStory
from foveate.report.story import WALL_SHOWN, PatchStory, ScenesStory, mixed

BASELINES = {
    "diagonal": "Diagonal Gaussian",
    "factor_analysis": "Factor analysis",
    "ppca": "Probabilistic PCA",
    "ledoit_wolf": "Full covariance (Ledoit-Wolf)",
    "held_out": "Full covariance (variances held out)",
    "student_t": "Multivariate t",
    "mixture": "Gaussian mixture",
}
GAUSSIAN = (0.6827, 0.9545)  # within one and within two standard deviations
WALL_COLUMNS = 15
STAGES_SHOWN = 4


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


def scene_sets(stories: list[ScenesStory], photographs: Photographs, shown: int) -> tuple[list[dict[str, Any]], list]:
    """The attended scenes: for each set its cards and its two stages, and all their scenes for the player."""
    sets, player = [], []
    for story in stories:
        cards, stages = [], []
        for scene in mixed(story.scenes, shown):
            photo = photographs.add(scene)
            key = len(player) if scene.steps else None
            if scene.steps:
                player.append(player_scene(scene, photo))
            cards.append(card(scene, photo, key))
            if len(stages) < STAGES_SHOWN and scene.success is not False and (pair := two_stages(scene, photo)):
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


def localization(story: LocalizationStory) -> dict[str, Any]:
    """Charts and figures of `evaluate localization`."""
    figures = story.figures
    plots = [_by_step(figures), _by_threshold(figures), _reliability(figures)]
    wrong = figures.get("wrong") or []
    return {
        "name": story.name,
        "charts": [plot for plot in plots if plot is not None],
        "rows": _localization_rows(figures),
        "coverage": _coverage(figures),
        "wrong": wrong[:REJECTED_SHOWN],
        "wrong_total": len(wrong),
    }


def _by_step(figures: dict[str, Any]) -> Plot | None:
    rows = figures.get("by_step") or []
    if len(rows) < 2:
        return None
    curve = Series("", [row[0] for row in rows], [row[1] for row in rows])
    svg = lines([curve], "inference step", shares=True, dots=len(rows) < 20, words="Top-1 accuracy")
    return Plot("Top-1 accuracy, by step", svg, "The best gaze has IoU > 0.5 with an object; step 0 is the start.")


def _by_threshold(figures: dict[str, Any]) -> Plot | None:
    series = []
    for name, key, tone in (("top-1 accuracy", "top1", "a"), ("recall", "recall", "b")):
        points = sorted((float(at), value) for at, value in (figures.get(key) or {}).items() if value is not None)
        if len(points) > 1:
            series.append(Series(name, [x for x, _ in points], [y for _, y in points], tone))
    if not series:
        return None
    svg = lines(series, "IoU at least", shares=True, dots=True, words="Share found", whole=False)
    return Plot("By IoU threshold", svg, legend=[(one.name, one.tone) for one in series])


def _reliability(figures: dict[str, Any]) -> Plot | None:
    rows = figure_at(figures, "calibration", "reliability") or []
    bins = [row for row in rows if None not in row and row[2] > 0]
    if not bins:
        return None
    ece = figure_at(figures, "calibration", "ece")
    text = f"Expected calibration error {number(ece)}. " if ece is not None else ""
    svg = reliability(bins, "Stated probabilities and the share that was correct")
    return Plot("Calibration of the probabilities", svg, f"{text}Perfect on the diagonal; areas are counts.")


def _localization_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Images", number(figures.get("photos"))),
        ("Annotated objects", number(figures.get("objects"))),
        ("Top-1 accuracy (IoU > 0.5)", percent(figure_at(figures, "top1", "0.5"), 1)),
        ("Recall (IoU > 0.5)", percent(figure_at(figures, "recall", "0.5"), 1)),
        ("False positives per image", number(figures.get("false_positives_per_photo"))),
        ("Angle error, median / p90", _pair(figures.get("angle_error_degrees"), DEGREE)),
        ("Centre error in half-sides, median / p90", _pair(figures.get("centre_error"))),
        ("Scale error, median / p90", _pair(figures.get("scale_error"))),
        ("Seconds per image", number(figures.get("seconds_per_photo"))),
    ]
    return [(name, text) for name, text in rows if text.strip(f"\N{EN DASH}{DEGREE} /")]


def _pair(errors: dict[str, Any] | None, unit: str = "") -> str:
    return " / ".join(number(value) + unit for value in (errors or {}).values())


def _coverage(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Shares of truths within one and two posterior standard deviations, and what a Gaussian would give."""
    rows = []
    for name in ("centre", "angle", "scale"):
        shares = figure_at(figures, "calibration", name) or [None]
        if None not in shares:
            rows.append((name, percent(shares[0]), percent(shares[1])))
    return [*rows, ("if calibrated (Gaussian)", percent(GAUSSIAN[0]), percent(GAUSSIAN[1]))] if rows else []


def bound(story: BoundStory) -> dict[str, Any]:
    """The bound with its bracket beside the baselines: log p >= bound, where log Z lies between its two estimates."""
    figures = story.figures
    value, log_z = figures.get("bound"), figures.get("log_z")
    lower, upper = figures.get("log_z_lower"), figures.get("log_z_upper")
    rows, below, above = [], 0.0, 0.0
    if log_z is not None and lower is not None and upper is not None:
        # The reverse estimate is noisy too and may fall below the forward one, which the bound was had with.
        below, above = max(upper, log_z) - log_z, log_z - min(lower, log_z)
    for name, nats in (("GDBN, bound", value), ("GDBN, importance-weighted bound", figures.get("iw_bound"))):
        if nats is not None:
            bracket = (nats - below, nats + above) if below or above else (None, None)
            rows.append(Row(name, nats, *bracket, strong=True))
    if figures.get("grbm_log_density") is not None:
        rows.append(Row("First layer alone", figures["grbm_log_density"], strong=True))
    for key, nats in (figures.get("baselines") or {}).items():
        rows.append(Row(BASELINES.get(key, readable(key)), nats))
    offset = figures.get("pixel_offset")
    details = [
        ("Patches", number(figures.get("n"))),
        ("Standard error of the bound", number(figures.get("bound_stderr"))),
        ("log Z, forward", number(log_z, 5)),
        ("log Z between", f"{number(lower, 5)} and {number(upper, 5)}" if None not in (lower, upper) else ""),
        ("Standard error of log Z", number(figures.get("log_z_stderr"))),
        ("Effective sample size", f"{number(figures.get('ess'))} of {number(figures.get('chains'))} chains"),
        ("Intermediate distributions", number(figures.get("temperatures"))),
        ("Bound in nats over pixels", number(value + offset, 5) if value is not None and offset is not None else ""),
    ]
    return {
        "name": story.name,
        "chart": ranking(rows, "nats per patch", "Mean log density of held-out patches") if rows else None,
        "details": [(name, text) for name, text in details if text and not text.startswith("\N{EN DASH}")],
        "wide": value is not None and below + above > max(5.0, 0.02 * abs(value)),
    }


def headline(
    places: list[LocalizationStory], bounds: list[BoundStory], learns: list[LearnStory], training: list[TrainingStory]
) -> list[tuple[str, str]]:
    """At most four figures for the top of the page."""
    found = []
    for story in places[:2]:
        top1, n = figure_at(story.figures, "top1", "0.5"), story.figures.get("photos_with_objects")
        if top1 is not None:
            low, high = wilson(top1, n) if n else (None, None)
            sure = f" (n\xa0=\xa0{number(n)}, 95\u202f% interval {percent(low, 1)} to {percent(high, 1)})" if n else ""
            found.append((percent(top1, 1), f"top-1 accuracy{', ' + story.name if story.name else ''}{sure}"))
    for story in bounds[:1]:
        value = story.figures.get("iw_bound", story.figures.get("bound"))
        if value is not None:
            found.append((number(value, 4), "nats per held-out patch (lower bound on log density)"))
    for story in learns[:1]:
        if story.gap_closed is not None:
            found.append((percent(story.gap_closed), "of the gap to known locations closed by learning"))
    for story in training[:1]:
        if "objects" in story.facts:
            found.append((number(story.facts["objects"]), "objects trained on"))
    return found[:4]
