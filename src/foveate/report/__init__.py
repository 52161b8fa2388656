"""Plots and the page: everything known of a run, as one self-contained file."""

from foveate.report.page import write_report
from foveate.report.results import (
    BoundStory,
    LearnRound,
    LearnStory,
    LocalizationStory,
    TableStory,
    TrainingStory,
)
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Spread, Step

__all__ = [
    "BoundStory",
    "FoundGaze",
    "LearnRound",
    "LearnStory",
    "LocalizationStory",
    "PatchStory",
    "SceneStory",
    "ScenesStory",
    "Spread",
    "Step",
    "TableStory",
    "TrainingStory",
    "write_report",
]
