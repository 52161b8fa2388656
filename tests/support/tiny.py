"""Settings of models too small to be good, trained in seconds: do the parts fit?"""

from dataclasses import replace

from foveate.attention.settings import AttendSettings, PosteriorSettings, SearchSettings
from foveate.boltzmann.training.settings import FIRST, SECOND, GDBNSettings
from foveate.training.settings import (
    FINE,
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
        ),
        attend=AttendSettings(
            search=SearchSettings(most=4, fine=1),
            posterior=PosteriorSettings(chains=2, warm_up=4, draws=6, moves=1, n_leapfrog=2),
        ),
    )
)
