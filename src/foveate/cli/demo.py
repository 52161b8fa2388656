"""`foveate demo`: the whole story on scenes that it makes itself."""

from foveate.cli.options import Common, Preset, print_figures, progress


def demo(*, out: str = "demo", preset: Preset = "quick", common: Common = Common()) -> None:  # noqa: B008 it is frozen
    """Make scenes of handwritten digits on photographs, learn them, find them, learn new ones whose places are unknown.

    Ends with a page to open. Run it again on the same folder and it goes on where it was stopped. All is computed on
    the CPU, whatever --device says.

    Args:
        out: The folder for everything: report.html, scenes/, run/, run-learned/.
    """
    from foveate.demo.story import run_demo

    print_figures(run_demo(out, common.seed or 0, preset, progress()), common.json)
