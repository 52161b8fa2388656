"""Models too small to be good, trained in seconds: do the parts fit?"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from foveate.attention.settings import AttendSettings, PosteriorSettings, SearchSettings
from foveate.boltzmann.training.settings import FIRST, SECOND, GDBNSettings
from foveate.cli import main as cli
from foveate.demo.digits import KNOWN, write_digit_scenes
from foveate.learning.settings import PRESETS as LEARNING
from foveate.learning.settings import LearnSettings, Trust
from foveate.training.settings import (
    FINE,
    PRESETS,
    ClutterSettings,
    MosaicSettings,
    PeripherySettings,
    RankingSettings,
    ShiftNetSettings,
    TrainSettings,
    without_mirroring,
)

SETTINGS = without_mirroring(
    TrainSettings(
        held_out=0.25,
        largest=128,
        gdbn=GDBNSettings(
            n_hidden1=30,
            n_hidden2=10,
            start="small",
            start_epochs=1,
            look_temperatures=50,
            first=replace(FIRST, epochs=2),
            second=replace(SECOND, epochs=2),
        ),
        periphery=PeripherySettings(steps=4, batch=4, pools=2, patches=6, clutter=1, report_every=2),
        shiftnet=ShiftNetSettings(steps=4, batch=16, report_every=2),
        fine=replace(FINE, steps=3, batch=16, report_every=2),
        ranking=RankingSettings(
            scenes=5,
            mosaics=2,
            held_out_mosaics=2,
            held_out_clutter=1,
            log_z_temperatures=50,
            mosaic=MosaicSettings(long=160, short=120, least=40),
            empty=ClutterSettings(long=160, short=120, leaves=100),
        ),
        attend=AttendSettings(
            search=SearchSettings(most=4, fine=1),
            posterior=PosteriorSettings(chains=2, warm_up=4, draws=6, moves=1, n_leapfrog=2),
        ),
    )
)


@contextmanager
def presets() -> Iterator[None]:
    """`--preset quick` is SETTINGS, in whole: no file and no `--set` can name all of them.

    And the whitening of the background decomposes three matrices instead of nine, and few bands are fitted in it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", SETTINGS)
        patch.setitem(LEARNING, "quick", lessons())
        patch.setattr("foveate.boltzmann.training.whitening.SHARES", (0.1,))
        patch.setattr("foveate.training.hard_negatives.FOLDS", 2)
        patch.setattr("foveate.training.evidence.BANDS", 2)
        patch.setattr("foveate.training.evidence.GATES", 3)
        yield


def lessons(**changes) -> LearnSettings:
    """Lessons from whatever is found."""
    trust = Trust(probability=0.0, centre=99.0, log_scale=99.0, angle=99.0, negligible=0.0, fewest=4)
    still = replace(SETTINGS, attend=replace(SETTINGS.attend, posterior=PosteriorSettings(chains=0)))
    steps = {"shiftnet_steps": 2, "fine_steps": 2, "periphery_steps": 2}
    return LearnSettings(**{**steps, "rounds": 1, "trust": trust, "tolerance": 1e9, "train": still, **changes})


def shared_run(folder: Path) -> Path:
    """`folder`, with 14 scenes and a RUN that `foveate train` made of 13 of them; the first who asks makes it.

    The others, processes of the same tests among them, wait until it is there.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "run" / "report.html").is_file():
            write_digit_scenes(folder / "scenes", KNOWN, 14, seed=0)
            words = ["train", folder / "scenes", "--out", folder / "run", "--preset", "quick", "--select", "0:13"]
            words += ["--device", "cpu"]
            with presets():
                assert cli.run([str(word) for word in words]) == 0
    return folder
