"""Settings of earlier versions: what became of their names, in config.toml files and wherever else they are given."""

from typing import Any

RENAMED = (
    (r"gdbn\.(rate_log_sigma|log_sigma_floor)", r"gdbn.first.\1"),
    (r"gdbn\.look_temperatures2", "gdbn.look_temperatures"),
    (r"gdbn\.(epochs|rate|sweeps|persistent_from|momentum|weight_decay|average)1", r"gdbn.first.\1"),
    (r"gdbn\.(method|epochs|rate|fast_rate|sweeps|momentum|weight_decay|average)2", r"gdbn.second.\1"),
    (r"(shiftnet|fine|ranking\.verifier)\.descent\.(rate|warm_up|decay)", r"\1.\2"),
)
"""(pattern of the whole old name, what it is called now)."""

ANY = "any"  # stands for every value
GRID = ("smallest", "ratio", "spacing", "angles", "keep", "steps", "settle", "crowd", "candidates")
"""What was set of a search from a grid of starts: runs that were trained with it still look from a single one."""
VERIFIER = {
    "soft": 0.01, "least": 0.05, "suspicious": 3, "checkpoint_every": 200, "rate": 0.01, "warm_up": 50,
    "decay": 0.995, "pairs.objects": 36, "pairs.misses": 28, "pairs.reaching": 12, "pairs.starts": 12,
    "pairs.negatives": 40, "pairs.imprecise": 0.12, "pairs.jitter": 0.08,
}  # fmt: skip

GONE: dict[str, Any] = {
    "reselect": 1,
    "verifier_steps": ANY,
    "gdbn.batch_size": 128,
    "gdbn.chains": 128,
    "gdbn.looks2": 3,
    "gdbn.first.persistent_from": 1.0,
    "gdbn.second.persistent_from": 1.0,
    "sideways.most": 1.1,
    "ranking.mixed": 0.12,
    "ranking.windows": 6,
    "ranking.starts": ANY,
    "ranking.clutter": ANY,
    "ranking.verifier.steps": ANY,
    **{f"ranking.verifier.{name}": value for name, value in VERIFIER.items()},
    **{f"search.{name}": ANY for name in GRID},
    "posterior.jitter": 0.3,
    "posterior.acceptance": 0.8,
    **{f"{network}.pairs.appearance.cover": 0.15 for network in ("shiftnet", "fine")},
    **{f"{network}.loss": "mse" for network in ("shiftnet", "fine")},
    **{f"{network}.pairs.search_turn": 1.1 for network in ("shiftnet", "fine")},
    **{f"{network}.pairs.reach": 2.2 for network in ("shiftnet", "fine")},
    **{f"{network}.descent.momentum": 0.9 for network in ("shiftnet", "fine", "ranking.verifier")},
    **{f"{network}.descent.clip": 2.0 for network in ("shiftnet", "fine", "ranking.verifier")},
}
"""What can't be set any more, with the value at which it is passed over; of a constant that changed, its former one."""
