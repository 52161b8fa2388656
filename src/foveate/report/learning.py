"""The section on learning from scenes whose object locations are unknown."""

from typing import Any

from foveate.report.charts import Plot, Series, lines, stacks
from foveate.report.gallery import Photographs, card
from foveate.report.pictures import data_uri, picture_uri, wall
from foveate.report.results import LearnStory
from foveate.report.story import mixed, thin

MOST_ROUNDS = 8


def learned(story: LearnStory, photographs: Photographs, shown: int) -> dict[str, Any]:
    """Averages that sharpen from round to round, which scenes were used, the bound, samples before and after."""
    rounds = thin(story.rounds, MOST_ROUNDS)
    means = [("Whole scenes", story.start_mean), *((f"Round {item.number}", item.attended_mean) for item in rounds)]
    samples = [("Before", story.samples_before), ("After", story.samples_after)]
    share = max(1, shown // 2) if len(rounds) > 3 else shown
    return {
        "name": story.name,
        "means": [{"title": title, "uri": picture_uri(mean)} for title, mean in means if mean is not None],
        "closed": story.gap_closed,
        "plots": _plots(story),
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
            {"title": title, "uri": data_uri(wall(drawn, 8, scale=2))} for title, drawn in samples if drawn is not None
        ],
        "rejected": story.rejected,
        "rejected_total": story.rejected_total,
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
