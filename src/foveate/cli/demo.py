"""`foveate demo`: the whole pipeline on generated scenes."""

from foveate.cli.options import Common, Preset, print_figures, progress


def demo(*, out: str = "demo", preset: Preset = "quick", common: Common = Common()) -> None:  # noqa: B008 it is frozen
    """Generate scenes of handwritten digits on photographs; train, attend, learn without annotations, evaluate.

    Writes an HTML page at the end. An interrupted demo continues when it is run again on the same folder. It computes
    on the CPU, whatever --device is.

    Args:
        out: Folder for report.html, scenes/, run/ and run-learned/.
    """
    from foveate.demo.photographs import bundled

    bundled()  # what is missing is said before anything is begun, or torch imported
    from foveate.demo.story import run_demo

    print_figures(run_demo(out, common.seed or 0, preset, progress()), common.json)
