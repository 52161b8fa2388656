"""The model to try at once: handwritten digits on photographs, trained once and kept in the user's cache."""

import os
from pathlib import Path

from foveate import __version__
from foveate.demo.photographs import bundled
from foveate.runtime.progress import shown

CACHE = "FOVEATE_CACHE"  # the environment variable that names another folder for what is made once and used again


def cache_folder() -> Path:
    """Where what is made once is kept: FOVEATE_CACHE, else `foveate` in the user's cache (XDG_CACHE_HOME)."""
    if named := os.environ.get(CACHE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foveate"


def demo_run() -> Path:
    """The RUN that has learned the demo's known digits; made at the first call, and taken up if that was interrupted.

    Raises:
        MissingExtra: The photographs that scenes are made from are not installed.
        CannotWrite: The cache can't be written.
    """
    folder = cache_folder() / f"demo-{__version__}"
    if not (folder / "run" / "report.html").exists():
        bundled()  # what is missing is said before anything is begun
        from foveate.demo.story import train_digits

        train_digits(folder, 0, "quick", shown(True))
    return folder / "run"
