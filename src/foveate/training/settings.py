"""Everything that decides about the models of a RUN but for its scenes, and the presets of the command line."""

from dataclasses import dataclass, field, replace

from foveate.attention.attend import POSTERIOR, AttendSettings
from foveate.attention.search import SearchSettings
from foveate.boltzmann.training.greedy import QUICK, GDBNSettings
from foveate.training.appearance import AppearanceSettings
from foveate.training.descent import DescentSettings
from foveate.training.evidence import RankingSettings
from foveate.training.mosaics import MosaicSettings
from foveate.training.pairs import PairSettings
from foveate.training.patches import PatchSettings
from foveate.training.shiftnet import FINE, ShiftNetSettings
from foveate.training.sideways import SidewaysSettings
from foveate.training.verifier import VerifierSettings


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides about the models, but for the scenes."""

    seed: int = 0
    held_out: float = 0.12  # share of the scenes that validates and calibrates
    largest: int = 640  # longest side at which training scenes are kept, pixels
    patches: PatchSettings = field(default_factory=PatchSettings)
    gdbn: GDBNSettings = field(default_factory=GDBNSettings)
    shiftnet: ShiftNetSettings = field(default_factory=ShiftNetSettings)
    fine: ShiftNetSettings = FINE  # of the network that looks closer
    sideways: SidewaysSettings = field(default_factory=SidewaysSettings)  # copies of scenes, for the networks
    ranking: RankingSettings = field(default_factory=RankingSettings)
    attend: AttendSettings = field(default_factory=AttendSettings)


def handed(settings: TrainSettings) -> TrainSettings:
    """The same for objects that are not themselves in a mirror, nor turned out of the plane, such as digits."""

    def as_is(network: ShiftNetSettings) -> ShiftNetSettings:
        appearance = replace(network.pairs.appearance, mirror=0.0)
        return replace(network, pairs=replace(network.pairs, appearance=appearance))

    patches, flat = replace(settings.patches, mirror=False), replace(settings.sideways, share=0.0)
    return replace(
        settings, sideways=flat, patches=patches, shiftnet=as_is(settings.shiftnet), fine=as_is(settings.fine)
    )


QUICK_SETTINGS = TrainSettings(
    largest=320,
    gdbn=QUICK,
    shiftnet=ShiftNetSettings(
        steps=240,
        descent=DescentSettings(rate=0.03),
        report_every=20,
        pairs=PairSettings(appearance=AppearanceSettings(composite=0.3, coarse=0.1)),
    ),
    fine=replace(
        FINE,
        steps=140,
        descent=DescentSettings(rate=0.03, warm_up=30, decay=0.98),
        report_every=20,
        pairs=replace(
            FINE.pairs, log_scale=0.25, turn=0.3, shift=0.3, appearance=AppearanceSettings(composite=0.3, coarse=0.1)
        ),
    ),
    sideways=SidewaysSettings(share=0.0),
    ranking=RankingSettings(
        scenes=30,
        mosaics=30,
        starts=60,
        clutter=8,
        held_out_mosaics=10,
        held_out_clutter=4,
        mosaic=MosaicSettings(long=320, short=240, least=56),
        verifier=VerifierSettings(steps=60),
        log_z_temperatures=300,
    ),
    attend=AttendSettings(
        search=SearchSettings(smallest=13.5, steps=3, settle=2, candidates=20),
        posterior=replace(POSTERIOR, chains=4, warm_up=8, draws=12),
    ),
)
PRESETS = {"quick": QUICK_SETTINGS, "standard": TrainSettings()}
