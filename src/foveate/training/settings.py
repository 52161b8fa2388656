"""All that decides about the models of a RUN but for its scenes, and the presets of `train`. Imports no torch."""

from dataclasses import field, replace
from typing import Annotated

from pydantic import Field

from foveate.attention.settings import CLOSER, POSTERIOR, AttendSettings
from foveate.boltzmann.training.settings import QUICK, GDBNSettings, Rule
from foveate.storage.config import AtLeast0, AtLeast1, NotNegative, Positive, Share, Unlisted, override, settings

BelowOne = Annotated[float, Field(ge=0, lt=1)]


@settings
class PatchSettings:
    """How aligned patches are varied."""

    copies: Annotated[AtLeast1, Unlisted] = 2  # patches of each object an epoch
    log_scale: Annotated[NotNegative, Unlisted] = 0.03  # standard deviations of the jitter
    turn: Annotated[NotNegative, Unlisted] = 0.03  # radians
    shift: Annotated[NotNegative, Unlisted] = 0.03  # half-sides
    mirror: bool = True  # half of them are mirror images


@settings
class AppearanceSettings:
    """Shares of contexts that are changed, and how much."""

    mirror: Share = 0.5  # mirror images (0 for objects that have a handedness, as digits do)
    composite: Annotated[Share, Unlisted] = 0.6  # the scene is cropped at random and stands on another photograph
    cover: Annotated[Share, Unlisted] = 0.3  # a part of the object is covered by another photograph
    grey: Annotated[Share, Unlisted] = 0.15  # no colour
    coarse: Annotated[Share, Unlisted] = 0.3  # seen at half or a third of the resolution, as a small object is
    gain: Annotated[NotNegative, Unlisted] = 0.3  # standard deviation of the log contrast
    tint: Annotated[NotNegative, Unlisted] = 0.08  # standard deviation of each channel's log gain
    bias: Annotated[NotNegative, Unlisted] = 0.1  # standard deviation of the brightness added
    noise: Annotated[NotNegative, Unlisted] = 0.03  # largest standard deviation of the pixel noise


@settings
class PairSettings:
    """How pairs are drawn."""

    near: Annotated[Share, Unlisted] = 0.35  # share of pairs with changes of every size
    search: Annotated[Share, Unlisted] = 0.25  # share with the object anywhere in the context
    whole: Annotated[Share, Unlisted] = 0.15  # share whose context covers the photograph; the rest is fed back
    in_mind: Annotated[Share, Unlisted] = 0.2  # share of pairs, of any kind, with v of the target as seen before
    smallest_change: Annotated[float, Field(gt=0, le=1, exclude=True)] = 0.01  # of a near pair, relative to the largest
    log_scale: Annotated[NotNegative, Unlisted] = 0.5  # standard deviation of the largest near change of log scale
    turn: Annotated[NotNegative, Unlisted] = 0.5  # the same of the angle, radians
    shift: Annotated[NotNegative, Unlisted] = 1.0  # the same of the position, half-sides
    closer: Annotated[Annotated[float, Field(gt=0, le=1)], Unlisted] = 1.0  # as of the network; see `shiftnet`
    appearance: AppearanceSettings = field(default_factory=AppearanceSettings)


@settings
class ShiftNetSettings:
    """How the ShiftNet is trained."""

    steps: AtLeast0 = 1500  # minibatches: three times as many find no more objects, and angles by a tenth better
    batch: AtLeast1 = 128  # pairs in each
    rate: NotNegative = 0.02  # after a warm-up, then along a cosine to zero
    warm_up: Annotated[AtLeast1, Unlisted] = 100  # steps
    decay: Annotated[BelowOne, Unlisted] = 0.999  # of the averaged weights, which are the result
    near_weight: Annotated[Positive, Unlisted] = 0.5  # w of the loss in `shiftnet`; large for the mean squared error
    report_every: AtLeast1 = 100  # steps between records
    checkpoint_every: AtLeast1 = 200  # steps between checkpoints
    pairs: PairSettings = field(default_factory=PairSettings)


# Of the network that looks closer: from where the other leaves off, and in relative terms down to a sixth of a degree.
FINE = ShiftNetSettings(
    steps=1500,
    near_weight=0.1,
    decay=0.995,
    pairs=PairSettings(
        near=1.0, search=0.0, whole=0.0, in_mind=0.0, smallest_change=0.05, log_scale=0.2, turn=0.25, shift=0.25,
        closer=CLOSER, appearance=AppearanceSettings(composite=0.4),
    ),
)  # fmt: skip


@settings
class SidewaysSettings:
    """How many scenes get a copy in which an object seems turned out of the plane, and how far."""

    share: Share = 0.6  # of the scenes with an object
    least: Annotated[float, Unlisted] = 0.2  # radians
    most: Annotated[float, Unlisted] = 1.2


@settings
class MosaicSettings:
    """How mosaics are made."""

    long: AtLeast1 = 512  # sides of the canvas, pixels; half of the mosaics stand upright
    short: AtLeast1 = 384
    least: AtLeast1 = 64  # shortest side of a cell
    stop: Annotated[Share, Unlisted] = 0.25  # probability that a cell is not divided further
    smaller: Annotated[Positive, Unlisted] = 2.5  # an object's largest size, beside that of the photograph in the cell
    enlarged: Annotated[Positive, Unlisted] = 1.5  # but never enlarged by more
    in_view: Annotated[Share, Unlisted] = 0.6  # share of cells that are made to show an object


@settings
class ClutterSettings:
    """How pictures without an object are made."""

    long: AtLeast1 = 384  # sides, pixels; half of the pictures stand upright
    short: AtLeast1 = 288
    grey: Share = 0.3  # share without colour
    block: AtLeast1 = 6  # largest block of the noise, pixels
    waves: AtLeast1 = 3  # most waves of a grating
    leaves: AtLeast1 = 1200  # discs that fall
    smallest: Positive = 3.0  # their smallest radius, pixels
    largest: Positive = 80.0


@settings
class PeripherySettings:
    """How the periphery is trained."""

    steps: AtLeast1 = 6000  # minibatches
    batch: Annotated[AtLeast1, Unlisted] = 32  # patches in each
    pools: Annotated[AtLeast1, Unlisted] = 4  # how often patches are made anew
    patches: AtLeast1 = 4000  # that are made each time
    turn: Annotated[float, Field(ge=0, le=180)] = 180.0  # by how much scenes are turned at most, degrees either way
    clutter: Annotated[AtLeast0, Unlisted] = 100  # pictures without an object beside the scenes
    rate: Annotated[Positive, Unlisted] = 4e-3  # of AdamW, after a warm-up, then along a cosine to zero
    report_every: Annotated[AtLeast1, Unlisted] = 100  # steps between records
    checkpoint_every: AtLeast1 = 500  # steps between checkpoints


@settings
class RankingSettings:
    """How the evidence is trained."""

    scenes: AtLeast1 = 200  # scenes that make the background model
    mosaics: AtLeast0 = 60  # mosaics of them
    held_out_mosaics: AtLeast0 = 60  # mosaics of scenes that trained nothing, which the ranking learns from too
    held_out_clutter: AtLeast0 = 20  # pictures without an object, likewise
    of_scenes: bool = (
        False  # P(object) is of scenes like those held out; else also of others with more or fewer objects
    )
    log_z_temperatures: AtLeast1 = 1000  # of the estimate of the first layer's log Z
    mosaic: MosaicSettings = field(default_factory=MosaicSettings)
    empty: Annotated[ClutterSettings, Unlisted] = field(default_factory=ClutterSettings)


@settings
class TrainSettings:
    """Everything that decides about the models, but for the scenes."""

    seed: AtLeast0 = 0
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.12  # share of the scenes that validates and calibrates
    largest: AtLeast1 = 640  # longest side at which training scenes are kept, pixels
    patches: PatchSettings = field(default_factory=PatchSettings)
    gdbn: GDBNSettings = field(default_factory=GDBNSettings)
    shiftnet: ShiftNetSettings = field(default_factory=ShiftNetSettings)
    fine: ShiftNetSettings = FINE  # of the network that looks closer
    periphery: PeripherySettings = field(default_factory=PeripherySettings)
    sideways: SidewaysSettings = field(default_factory=SidewaysSettings)  # copies of scenes, for the networks
    ranking: RankingSettings = field(default_factory=RankingSettings)
    attend: AttendSettings = field(default_factory=AttendSettings)
    paper: Annotated[bool, Unlisted] = False  # nothing beyond the paper: no periphery, and v in training as it needs it


HANDED = {
    "patches.mirror": False, "sideways.share": 0.0, "shiftnet.pairs.appearance.mirror": 0.0,
    "fine.pairs.appearance.mirror": 0.0,
}  # fmt: skip
"""Of objects that must not be mirrored, nor turned out of the image plane, such as digits."""


def without_mirroring(settings: TrainSettings) -> TrainSettings:
    """The same for objects that are `HANDED`."""
    return override(settings, HANDED, "handedness")


def without_turning(settings: TrainSettings) -> TrainSettings:
    """The same for objects that all stand upright, or look alike at any angle: none is looked for at another."""
    shiftnet, fine = (replace(each, pairs=replace(each.pairs, turn=0.0)) for each in (settings.shiftnet, settings.fine))
    return replace(settings, shiftnet=shiftnet, fine=fine, periphery=replace(settings.periphery, turn=0.0))


_PLAIN = AppearanceSettings(composite=0.3, cover=0.15, coarse=0.1)  # so few steps do better with what is common
QUICK_SETTINGS = TrainSettings(
    largest=320,
    gdbn=QUICK,
    shiftnet=ShiftNetSettings(
        steps=240, rate=0.03, report_every=20, pairs=PairSettings(in_mind=0.0, appearance=_PLAIN)
    ),
    fine=replace(
        FINE, steps=140, rate=0.03, warm_up=30, decay=0.98, report_every=20,
        pairs=replace(FINE.pairs, log_scale=0.25, turn=0.3, shift=0.3, appearance=_PLAIN),
    ),
    periphery=PeripherySettings(steps=600, batch=16, pools=2, patches=600, clutter=12),
    sideways=SidewaysSettings(share=0.0),
    ranking=RankingSettings(
        scenes=30, mosaics=10, held_out_mosaics=40, held_out_clutter=4, of_scenes=True, log_z_temperatures=300,
        mosaic=MosaicSettings(long=320, short=240, least=56),
    ),
    attend=AttendSettings(posterior=replace(POSTERIOR, chains=4, warm_up=8, draws=12)),
)  # fmt: skip


IN_MIND = 0.6  # share of pairs with v of the target as seen before: the paper's gaze goes where v says


def as_in_the_paper(settings: TrainSettings, units: int, epochs: int, steps: int) -> TrainSettings:
    """The paper's models by the paper's algorithms: a plain GDBN from small weights, its first layer by contrastive
    divergence with every sigma learned, its second by fast PCD; one ShiftNet; no periphery, no side views."""
    # CD-3: from where CD-1 begins to spoil the density, 80 epochs of 400 digits, three sweeps gain 500 nats a patch.
    rule = Rule(rate=1e-3, rate_log_sigma=1e-3, sweeps=3, momentum=0.9, average=0.99, log_sigma_floor=-4.0)
    first = replace(settings.gdbn.first, rule=rule, method="cd", epochs=epochs)
    shiftnet = replace(settings.shiftnet, steps=steps, pairs=replace(settings.shiftnet.pairs, in_mind=IN_MIND))
    gdbn = replace(settings.gdbn, start="small", n_hidden1=units, n_hidden2=units, first=first, start_epochs=4)
    return replace(
        settings, paper=True, gdbn=gdbn, shiftnet=shiftnet, fine=replace(settings.fine, steps=0),
        sideways=replace(settings.sideways, share=0.0), attend=replace(settings.attend, starts="paper"),
    )  # fmt: skip


PRESETS = {"quick": QUICK_SETTINGS, "standard": TrainSettings()}
PRESETS |= {
    "paper-quick": as_in_the_paper(QUICK_SETTINGS, 500, 100, 3000),
    "paper": as_in_the_paper(TrainSettings(), 2000, 200, 6000),
}
