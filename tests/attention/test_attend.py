"""What `attend` says while it is at work."""

import torch
from untrained import write_untrained

from foveate.attention.attend import attend_pyramids
from foveate.attention.models import Models
from foveate.attention.settings import AttendSettings, PosteriorSettings, SearchSettings
from foveate.runtime.progress import Quiet
from foveate.scenes.pyramid import Pyramids


class Ends(Quiet):
    """Remembers how far each phase was when it ended."""

    def __init__(self):
        self.found = {}

    def close(self, tick):
        self.found[tick.name] = (tick.done, tick.total)


def test_every_phase_ends_with_all_of_its_steps_done(tmp_path):
    write_untrained(tmp_path / "run", 6, 4)
    settings = AttendSettings(
        max_gazes=2, min_probability=0.0, sample_above=0.0, search=SearchSettings(angles=2),
        posterior=PosteriorSettings(chains=2, warm_up=2, draws=4),
    )  # fmt: skip
    pictures = [torch.rand(40, 50, 3, generator=torch.Generator().manual_seed(k)).numpy() for k in range(3)]
    ends = Ends()
    models, pyramids = Models.load(tmp_path / "run"), Pyramids.from_images(pictures)
    found = attend_pyramids(models, pyramids, range(3), ["a", "b", "c"], settings, ends, "attending")
    sampled = sum(each.spread is not None for one in found for each in one)
    assert ends.found == {"attending": (3, 3), "attending: posterior": (sampled, sampled)} and sampled >= 3
