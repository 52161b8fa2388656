"""`foveate report`: the page of a run."""

from foveate.commands.options import Common, print_figures


def report(run: str, /, *, common: Common = Common()) -> None:  # noqa: B008 it is frozen
    """Make RUN/report.html: everything known of a run, on one page that needs no network.

    Args:
        run: A RUN folder.
    """
    from foveate.report import write_report
    from foveate.runs import Run

    Run.open(run, needs=())
    page = write_report(run)
    if common.json:
        print_figures({"report": str(page), "bytes": page.stat().st_size}, as_json=True)
    else:
        print(page)
