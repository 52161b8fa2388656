"""`foveate report`: the page of a run."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from foveate.cli.options import Common, note, print_figures, progress


def report(
    run: str,
    /,
    *,
    watch: Annotated[bool, Parameter(show_default=False)] = False,
    tensorboard: str | None = None,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Make RUN/report.html: everything known of a run, on one page that needs no network.

    Args:
        run: A RUN folder.
        watch: Make it again whenever the run has got further, until the run is finished; the page reloads itself.
        tensorboard: A folder for the training curves as TensorBoard's event files; with --watch they grow.
    """
    from foveate.report.page import write_report
    from foveate.report.watching import EventFile
    from foveate.report.watching import watch as follow
    from foveate.storage.run import Run

    path = Run.open(run, needs=()).path
    events = EventFile(path, Path(tensorboard)) if tensorboard is not None else None
    try:
        update = events.update if events is not None else lambda: None
        if watch:
            note(f"watching {path}: open {path / 'report.html'}")
            page = follow(path, progress(), update)
        else:
            update()
            page = write_report(path)
    finally:
        if events is not None:
            events.close()
    if common.json:
        print_figures({"report": str(page), "bytes": page.stat().st_size}, as_json=True)
    else:
        print(page)
