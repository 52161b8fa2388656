"""`foveate report`: the page of a run."""

from contextlib import closing, nullcontext
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
    no_pictures: Annotated[bool, Parameter(show_default=False)] = False,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Write RUN/report.html: everything known about a run, on one page that works offline.

    Args:
        run: A RUN folder.
        watch: Rewrite the page whenever the run has new records, until it is finished; the page reloads itself.
        tensorboard: Folder to write the training curves to, as TensorBoard event files.
        no_pictures: Leave out every photograph and patch, for a page that may be passed on where they may not.
    """
    from foveate.report.page import write_report
    from foveate.report.watching import EventFile
    from foveate.report.watching import watch as follow
    from foveate.storage.run import Run

    path = Run.open(run, needs=()).path
    with closing(EventFile(path, Path(tensorboard))) if tensorboard is not None else nullcontext() as events:
        update = events.update if events is not None else lambda: None
        if watch:
            note(f"watching {path}: open {path / 'report.html'}")
            page = follow(path, progress(), update, pictures=not no_pictures)
        else:
            update()
            page = write_report(path, pictures=not no_pictures)
    if common.json:
        print_figures({"report": str(page), "bytes": page.stat().st_size}, as_json=True)
    else:
        print(page)
