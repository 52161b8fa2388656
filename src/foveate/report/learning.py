"""The section on learning from scenes whose object locations are unknown."""

from typing import Any

from foveate.report.charts import Number, Plot, Series, lines, span, stacks
from foveate.report.figures import wall
from foveate.report.gallery import Photographs, card
from foveate.report.pictures import data_uri, picture_uri, png
from foveate.report.results import LearnStory
from foveate.report.story import mixed, thin

MOST_ROUNDS = 8


def learned(story: LearnStory, photographs: Photographs, shown: int) -> dict[str, Any]:
    """Learning where nobody has pointed: averages sharpening, who taught, the bound, samples before and after."""
    rounds = thin(story.rounds, MOST_ROUNDS)
    means = [("Whole scenes", story.start_mean)] if story.start_mean is not None else []
    means += [(f"Round {item.number}", item.attended_mean) for item in rounds if item.attended_mean is not None]
    ends = _ends(story)
    closed = gap_closed(story)
    counts = [(str(item.number), item.accepted, item.rejected) for item in story.rounds]
    curves = _bounds_by_round(story)
    share = max(1, shown // 2) if len(rounds) > 3 else shown
    return {
        "name": story.name,
        "means": [{"title": title, "uri": picture_uri(mean)} for title, mean in means],
        "closed": closed,
        "span": span(*ends, "Bound on new patches, nats over pixels") if ends else None,
        "plots": _learn_plots(counts, curves),
        "undone": [(item.number, item.undone) for item in story.rounds if item.undone],
        "rounds": [
            {
                "number": item.number,
                "accepted": item.accepted,
                "rejected": item.rejected,
                "reasons": item.reasons,
                "cards": [card(scene, photographs.add(scene), None) for scene in mixed(item.scenes, share)],
            }
            for item in rounds
        ],
        "samples": [
            {"title": title, "uri": data_uri(png(wall(samples, 8, gap=1, scale=2)))}
            for title, samples in (("Before", story.samples_before), ("After", story.samples_after))
            if samples is not None and len(samples)
        ],
        "rejected": story.rejected,
        "rejected_total": story.rejected_total,
    }


def _bounds_by_round(story: LearnStory) -> list[Series]:
    """Bounds before and after each round; the two of a round are of the same patches, those of two rounds are not."""
    curves = []
    for name, tone, field in (("before the round", "d", "bound_before"), ("after it", "a", "bound")):
        points = [(item.number, nats) for item in story.rounds if (nats := getattr(item, field)) is not None]
        if points:
            curves.append(Series(name, [x for x, _ in points], [y for _, y in points], tone))
    return curves


def _ends(story: LearnStory) -> tuple[Number, Number, Number] | None:
    before, after, oracle = story.bound_before, story.bound_after, story.bound_oracle
    return None if before is None or after is None or oracle is None else (before, after, oracle)


def gap_closed(story: LearnStory) -> float | None:
    """Gap closed = (learned - source) / (oracle - source)."""
    ends = _ends(story)
    return None if ends is None or ends[2] == ends[0] else (ends[1] - ends[0]) / (ends[2] - ends[0])


def _learn_plots(counts: list[tuple[str, int, int]], curves: list[Series]) -> list[Plot]:
    plots = []
    if counts:
        svg = stacks(counts, "Scenes that taught and that were rejected, by round")
        plots.append(Plot("Which scenes taught", svg, legend=[("taught", "a"), ("rejected", "warn")]))
    if curves:
        steps = lines(curves, "round", dots=True, words="Bound on held-out attended patches")
        legend = [(curve.name, curve.tone) for curve in curves]
        plots.append(Plot("Bound, by round", steps, "On the round's own held-out attended patches.", legend=legend))
    return plots
