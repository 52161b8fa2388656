"""What several commands take from the rooms: a trained run, and settings from preset, file and command line."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from foveate.cli.options import Common
from foveate.runtime.devices import resolve
from foveate.storage.config import override, parse_overrides


def load_attention(run: str, common: Common) -> Any:
    """The `Attention` of a RUN, on the device that was asked for."""
    from foveate.attention.attend import Attention
    from foveate.storage.run import Run

    Run.open(run)
    return Attention.load(run, device=str(resolve(common.device)))


def attend_settings(
    run: str, starts: str, max_gazes: int | None, min_probability: float | None, set_: list[str] | None, common: Common
) -> Any:
    """The `AttendSettings` that options describe; what isn't said is as RUN was trained and calibrated with."""
    from foveate.attention.settings import AttendSettings

    said = {"starts": starts, "max_gazes": max_gazes, "min_probability": min_probability, "seed": common.seed}
    settings = override(AttendSettings(), _own(run), f"{run}/config.toml")
    settings = override(settings, parse_overrides(set_ or []), "--set")
    return dataclasses.replace(settings, **{name: value for name, value in said.items() if value is not None})


def _own(run: str) -> dict[str, Any]:
    """The table `attend` of a run's settings; empty where it has none."""
    from foveate.storage.run import Run

    return training_settings(Run.open(run, needs=()).config).get("attend", {})


def training_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of training in the configuration of a run, whichever command made it; empty where it has none."""
    settings = config.get("settings", {})
    return settings.get("train", settings)
