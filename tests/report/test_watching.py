"""A run followed while it trains: the page that rewrites itself, and TensorBoard's event files."""

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from foveate.errors import BadInput
from foveate.report import watching
from foveate.runtime.progress import Quiet
from foveate.storage.run import Run


@pytest.fixture
def run(tmp_path):
    with Run.claim(tmp_path / "RUN") as claimed:
        yield claimed


def follow(run, monkeypatch, *events):
    """Watches a run in which something happens at every rest; gives the page as it was at each."""
    seen, left = [], list(events)

    def rest(seconds):
        page = run.path / "report.html"
        seen.append(page.read_text() if page.exists() else "")
        left.pop(0)()

    monkeypatch.setattr(watching, "time", SimpleNamespace(sleep=rest, monotonic=time.monotonic))
    monkeypatch.setattr(watching, "REST", 0)
    page = watching.watch(run.path, Quiet())
    return [*seen, page.read_text()]


def test_the_page_follows_the_log_and_the_last_one_stands_still(run, monkeypatch):
    def log(epoch):
        return lambda: run.log({"phase": "grbm", "epoch": epoch, "loss": 1.0 / epoch})

    pages = follow(
        run, monkeypatch, lambda: run.write_config({"category": "disc"}), log(1), log(2), lambda: None, run.finish
    )
    assert [bool(page) for page in pages] == [False, True, True, True, True, True]
    assert ["from 1 at 1 to 0.5 at 2" in page for page in pages] == [False, False, False, True, True, True]
    assert pages[3] == pages[4], "nothing has happened, so nothing is written"
    assert ['http-equiv="refresh"' in page for page in pages[1:]] == [True] * 4 + [False]
    assert "The run is still going on" in pages[4] and "The run is still going on" not in pages[5]


def test_a_run_that_is_whole_is_told_once(run, monkeypatch):
    run.write_config({"category": "disc"})
    run.finish()
    assert len(follow(run, monkeypatch)) == 1


def test_a_folder_that_goes_away_is_said(run, monkeypatch):
    import shutil

    run.write_config({"category": "disc"})
    with pytest.raises(BadInput, match="no such RUN folder"):
        follow(run, monkeypatch, lambda: shutil.rmtree(run.path))


def test_an_interrupt_ends_the_watch_cleanly_and_the_page_stays(run, environment):
    run.write_config({"category": "disc"})
    command = [sys.executable, "-m", "foveate", "report", str(run.path), "--watch"]
    watcher = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    page = run.path / "report.html"
    try:
        deadline = time.monotonic() + 300
        while not page.exists() and watcher.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        watcher.send_signal(signal.SIGINT)
        out, err = watcher.communicate(timeout=60)
    finally:
        watcher.kill()
    assert (watcher.returncode, out, err.splitlines()[-1]) == (130, "", "foveate: interrupted")
    assert page.read_text().rstrip().endswith("</html>") and not list(run.path.glob(".report*"))


def curves(folder):
    """{tag: [(step, value), ...]} of a folder's event files, read by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore")  # what TensorBoard and protobuf say of each other
def test_tensorboard_shows_every_figure_of_the_log_as_it_grows(run, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'foveate[tensorboard]'")
    from foveate.report.watching import EventFile

    run.log({"phase": "grbm", "epoch": 1, "loss": 2.0, "validation": {"loss": 3.0}, "name": "no figure", "nan": None})
    events = EventFile(run.path, tmp_path / "board")
    events.update()
    run.log({"phase": "shiftnet", "step": 100, "top1": 0.5})
    run.log({"phase": "grbm", "epoch": 2, "loss": 1.0})
    events.update()
    events.close()
    expected = {
        "grbm/loss": [(1, 2.0), (2, 1.0)], "grbm/validation.loss": [(1, 3.0)], "shiftnet/top1": [(100, 0.5)],
    }  # fmt: skip
    assert curves(tmp_path / "board") == expected
    again = EventFile(run.path, tmp_path / "board")
    again.update()
    again.close()
    assert curves(tmp_path / "board") == expected, "what was there is replaced"
    assert len(list((tmp_path / "board").iterdir())) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_log_that_a_resumed_run_cut_is_told_from_the_beginning(run, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'foveate[tensorboard]'")
    from foveate.report.watching import EventFile

    log = run.path / "metrics.jsonl"
    lines = [json.dumps({"phase": "rbm", "epoch": epoch, "loss": float(epoch)}) + "\n" for epoch in range(4)]
    log.write_text("".join(lines))
    events = EventFile(run.path, tmp_path / "board")
    events.update()
    log.write_text("".join(lines[:2]))
    events.update()
    log.write_text("".join(lines[:2]) + lines[3])
    events.update()
    events.close()
    assert curves(tmp_path / "board")["rbm/loss"][-1] == (3, 3.0)


def test_without_tensorboard_it_says_what_to_install(run, tmp_path, monkeypatch):
    from foveate.report.watching import EventFile

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadInput, match=r"foveate\[tensorboard\]"):
        EventFile(run.path, tmp_path / "board")
    assert not (tmp_path / "board").exists()
