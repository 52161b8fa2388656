"""`foveate export`: the networks of a run for other programs."""

from foveate.cli.options import Common, note, print_figures
from foveate.storage.run import Run


def export(
    run: str,
    /,
    *,
    out: str,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Write the networks as ONNX files, each compared with torch before it is kept.

    Args:
        run: A RUN folder.
        out: Folder for shiftnet.onnx, fine.onnx, periphery.onnx and density.onnx, those that the run has.
    """
    path = Run.open(run).path
    from foveate.attention.models import Models
    from foveate.serve.export import export_onnx

    apart = export_onnx(Models.load(path), out)
    for name, share in apart.items():
        note(f"{name}.onnx: ONNX Runtime and torch differ by at most {share:.1e} of the largest output")
    if common.json:
        print_figures({"out": out, "difference": apart}, as_json=True)
