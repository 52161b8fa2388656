"""The chapters of the story that are figures: localization, bound, learning, tables, what training went by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from foveate.report.pictures import Picture, Stack, as_picture
from foveate.report.story import REJECTED_SHOWN, Chapter, Number, Numbers, SceneStory, mixed
from foveate.storage.files import strict

ROUND_SCENES_SHOWN = 8


@dataclass
class LocalizationStory(Chapter):
    """How well objects are found.

    Args:
        figures: What `evaluate localization --json` prints.
        name: What was measured ("dev_helen", "dev_afw, turned 30 degrees").
        top1_by_iou: Share of photographs whose best gaze is right, by IoU threshold ("0.30": 0.98, ...).
        reliability: Bins of stated probabilities: [mean stated, share that was right, count] each.
    """

    figures: dict[str, Any]
    name: str = ""
    top1_by_iou: dict[str, Any] | None = None
    reliability: Sequence[Numbers] | Stack | None = None
    file: ClassVar[str] = "localization"

    def __post_init__(self):
        self.figures, self.top1_by_iou = strict(self.figures), strict(self.top1_by_iou)
        self.reliability = strict(self.reliability)


@dataclass
class BoundStory(Chapter):
    """What `evaluate bound --json` prints, with `baselines` where they were asked for.

    Args:
        figures: The dictionary, nats.
        name: The patches it was measured on.
    """

    figures: dict[str, Any]
    name: str = ""
    file: ClassVar[str] = "bound"

    def __post_init__(self):
        self.figures = strict(self.figures)


@dataclass
class LearnRound:
    """One round of learning where nobody has pointed.

    Args:
        number: 1 for the first.
        attended_mean: Average of the patches that were accepted, [3, S, S].
        scenes: Some of its E-steps, successes and failures; at most 8 are kept.
        accepted, rejected: Counts of scenes.
        reasons: Why scenes were rejected, with counts.
        bound: Importance-weighted bound of the models that stayed, on attended patches of scenes held out in the round,
            nats a standardised patch.
        bound_before: The same of the models before the round, on the same patches.
        undone: Why the round was undone; empty if it was kept.
    """

    number: int
    attended_mean: Picture | None = None
    scenes: list[SceneStory] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    bound: Number | None = None
    undone: str = ""
    bound_before: Number | None = None

    def __post_init__(self):
        self.attended_mean = None if self.attended_mean is None else as_picture(self.attended_mean)
        self.scenes = mixed(self.scenes, ROUND_SCENES_SHOWN)
        self.reasons, self.bound = strict(self.reasons), strict(self.bound)
        self.bound_before = strict(self.bound_before)


@dataclass
class LearnStory(Chapter):
    """Learning from scenes whose object locations are unknown.

    Args:
        rounds: In order.
        start_mean: Average of whole scenes, what is known before anything is attended, [3, S, S].
        bound_before, bound_after, bound_oracle: Nats over pixels, on the same held-out aligned patches of the new kind;
            the oracle is the model trained with the locations known.
        samples_before, samples_after: Patches drawn from the models, [N, 3, 24, 24]; at most 64 are kept.
        rejected: [name, reason] of scenes that did not teach in the last round; at most 200 are kept.
        rejected_total: How many those are.
        name: What was learned.
    """

    rounds: list[LearnRound]
    start_mean: Picture | None = None
    bound_before: Number | None = None
    bound_after: Number | None = None
    bound_oracle: Number | None = None
    samples_before: Stack | None = None
    samples_after: Stack | None = None
    rejected: Sequence[Sequence[str]] = field(default_factory=list)
    rejected_total: int = 0
    name: str = ""
    file: ClassVar[str] = "learn"

    def __post_init__(self):
        self.start_mean = None if self.start_mean is None else as_picture(self.start_mean)
        for part in ("samples_before", "samples_after"):
            if getattr(self, part) is not None:
                setattr(self, part, as_picture(getattr(self, part)[:64]))
        for part in ("bound_before", "bound_after", "bound_oracle"):
            setattr(self, part, strict(getattr(self, part)))
        self.rejected_total = max(int(self.rejected_total), len(self.rejected))
        self.rejected = [[str(name), str(reason)] for name, reason in self.rejected[:REJECTED_SHOWN]]


@dataclass
class TableStory(Chapter):
    """A table of the page, such as the demo's: source, learned, oracle.

    Args:
        columns: Headings.
        rows: As long as `columns` each; words or numbers.
        caption: A sentence that says what is compared.
        name: The table's heading.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    name: str = ""
    file: ClassVar[str] = "table"

    def __post_init__(self):
        self.columns, self.rows = strict(self.columns), strict(self.rows)


@dataclass
class TrainingStory(Chapter):
    """What was trained on what, and what was left out of it.

    Args:
        facts: Shown as they are, in order: {"scenes": 870, "objects": 870, "category": "face", "seconds": 3210.5, ...}.
        rejected: [name, reason] of pictures, objects or windows that were not used; at most 200 are kept.
        rejected_total: How many those are.
        reasons: Counts by reason ({"unreadable": 3, "background window that scores like an object": 41}).
        name: Which training, if there are several.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    rejected: Sequence[Sequence[str]] = field(default_factory=list)
    rejected_total: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    name: str = ""
    file: ClassVar[str] = "training"

    def __post_init__(self):
        self.facts, self.reasons = strict(self.facts), strict(self.reasons)
        self.rejected_total = max(int(self.rejected_total), len(self.rejected))
        self.rejected = [[str(name), str(reason)] for name, reason in self.rejected[:REJECTED_SHOWN]]
