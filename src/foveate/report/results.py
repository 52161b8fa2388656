"""What a run keeps of figures: localization, bounds, learning, tables, training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from foveate.report.pictures import Picture
from foveate.report.story import Number, SceneStory, mixed, to_pictures
from foveate.report.story_files import StoryFile

ROUND_SCENES_SHOWN = 8
SAMPLES_KEPT = 64
REJECTED_SHOWN = 200


@dataclass
class LocalizationStory(StoryFile):
    """How well objects are found: what `evaluate localization --json` prints."""

    figures: dict[str, Any]
    name: str = ""  # what was measured ("dev_helen", "dev_afw, turned 30 degrees")
    order: int = 0
    file: ClassVar[str] = "localization"


@dataclass
class BoundStory(StoryFile):
    """What `evaluate bound --json` prints, with `baselines` where they were asked for."""

    figures: dict[str, Any]  # nats
    name: str = ""  # the patches it was measured on
    order: int = 0
    file: ClassVar[str] = "bound"


@dataclass
class AboutStory(StoryFile):
    """What was done, in a few sentences: the first thing that a reader of the page wants to know."""

    sentences: Sequence[str]
    name: str = ""
    file: ClassVar[str] = "about"


@dataclass
class LearnRound:
    """One round of learning without annotations."""

    number: int  # 1 for the first
    attended_mean: Picture | None = None  # average of the patches that were accepted, [3, S, S]
    # some of its E-steps, successes and failures; at most 8 are kept
    scenes: list[SceneStory] = field(default_factory=list)
    accepted: int = 0  # counts of scenes
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why scenes were rejected, with counts
    # importance-weighted bound of the models that stayed, on attended patches of scenes held out in the round,
    # nats per standardised patch
    bound: Number | None = None
    undone: str = ""  # why the round was undone; empty if it was kept
    bound_before: Number | None = None  # the same of the models before the round, on the same patches

    def __post_init__(self):
        to_pictures(self, "attended_mean")
        self.scenes = mixed(self.scenes, ROUND_SCENES_SHOWN)


@dataclass
class LearnStory(StoryFile):
    """Learning from scenes whose object locations are unknown."""

    rounds: list[LearnRound]  # in order
    start_mean: Picture | None = None  # average of whole scenes, what is known before anything is attended, [3, S, S]
    # nats over pixels, on the same held-out aligned patches of the new kind; the oracle is the model trained with
    # the locations known
    bound_before: Number | None = None
    bound_after: Number | None = None
    bound_oracle: Number | None = None
    samples_before: Picture | None = None  # patches drawn from the models, [N, 3, 24, 24]; at most 64 are kept
    samples_after: Picture | None = None
    # [name, reason] of scenes that were not used in the last round; at most 200 are kept
    rejected: Sequence[Sequence[str]] = field(default_factory=list)
    rejected_total: int = 0  # how many those are
    name: str = ""  # what was learned
    file: ClassVar[str] = "learn"

    def __post_init__(self):
        to_pictures(self, "start_mean")
        to_pictures(self, "samples_before", "samples_after", most=SAMPLES_KEPT)
        self.rejected = self.rejected[:REJECTED_SHOWN]

    @property
    def bounds(self) -> tuple[Number, Number, Number] | None:
        """Source, learned, oracle; None where one is not known."""
        before, after, oracle = self.bound_before, self.bound_after, self.bound_oracle
        return None if before is None or after is None or oracle is None else (before, after, oracle)

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap closed, (learned - source) / (oracle - source); None where a bound is not known."""
        before, after, oracle = self.bounds or (0.0, 0.0, 0.0)
        return (after - before) / (oracle - before) if oracle != before else None


@dataclass
class TableStory(StoryFile):
    """A table of the page, such as the demo's: source, learned, oracle."""

    columns: Sequence[str]  # headings
    rows: Sequence[Sequence[Any]]  # as long as `columns` each; words or numbers
    caption: str = ""  # a sentence that says what is compared
    name: str = ""  # the table's heading
    # charts above it, of shares: [title, name of the horizontal axis, [[name of a line, its xs, its ys], ...]] each
    curves: Sequence[Sequence[Any]] = ()
    file: ClassVar[str] = "table"


@dataclass
class TrainingStory(StoryFile):
    """The training data, and what was left out of it."""

    facts: dict[str, Any] = field(default_factory=dict)  # shown as they are, in order: {"scenes": 870, ...}
    # [name, reason] of images, objects or windows that were not used; at most 200 are kept
    rejected: Sequence[Sequence[str]] = field(default_factory=list)
    rejected_total: int = 0  # how many those are
    name: str = ""  # which training, if there are several
    verdict: Sequence[str] = field(default_factory=list)  # what can be trusted of the run and what can't
    file: ClassVar[str] = "training"

    def __post_init__(self):
        self.rejected = self.rejected[:REJECTED_SHOWN]
