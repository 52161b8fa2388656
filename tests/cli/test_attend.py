"""`foveate attend`: a line an image whatever happens, gone on with after a stop, and nothing lost or merged."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_attention import FAKE, attend, lines, picture


def without_crops(found):
    return [
        {**line, "gazes": [{name: gaze[name] for name in gaze if name != "crop"} for gaze in line["gazes"]]}
        for line in found
    ]


def test_a_line_an_image_in_order_with_all_that_is_promised(fakes, run_path, images, tmp_path, capfd):
    assert attend(run_path, images, "--out", tmp_path / "o.jsonl", "--json") == 0
    counts = json.loads(capfd.readouterr().out)
    assert (counts["images"], counts["gazes"], counts["errors"], counts["full"]) == (12, 24, 0, 0)
    assert attend(run_path, images, "--out", tmp_path / "full.jsonl", "--max-gazes", "2") == 0
    assert "12 images have 2 gazes, and may hold more objects: raise --max-gazes" in capfd.readouterr().err
    found = lines(tmp_path / "o.jsonl")
    assert [record["image"] for record in found] == [str(images / f"{number:02d}.png") for number in range(12)]
    record = found[0]
    assert (record["width"], record["height"]) == (30, 20)
    gaze = record["gazes"][0]
    assert {"u", "box", "scale", "angle", "score", "probability", "std", "trail"} <= gaze.keys()
    assert len(gaze["u"]) == len(gaze["std"]) == len(gaze["trail"][0]) == 4


@pytest.mark.parametrize("out", [["--out", "-"], ["--out=-"], ["--out", "/dev/stdout"]])
def test_results_pass_by_on_stdout_alone(fakes, run_path, images, tmp_path, capfd, out):
    assert attend(run_path, images, "--out", tmp_path / "o") == 0
    capfd.readouterr()
    assert attend(run_path, images, *out, "--coco", tmp_path / "c.json") == 0
    passed_by, told = capfd.readouterr()
    assert passed_by == (tmp_path / "o").read_text() and "12 images" in told
    assert len(json.loads((tmp_path / "c.json").read_text())["images"]) == 12
    assert attend(run_path, images, *out, "--json") == 2
    assert capfd.readouterr().out == ""


def test_the_same_name_in_different_folders_stays_apart_everywhere(fakes, run_path, tmp_path, monkeypatch):
    for name, shade in (("a/1.png", 20), ("b/1.png", 200), ("b/1.jpg", 90), ("b/1.PNG", 120)):
        picture(tmp_path / "in" / name, shade)
    monkeypatch.chdir(tmp_path)
    words = ["--coco", "o.json", "--overlays", "ov", "--crops", "cr"]
    assert attend("run", "in", "--out", "o.jsonl", *words) == 0
    found = lines(tmp_path / "o.jsonl")
    assert sorted(record["image"] for record in found) == ["in/a/1.png", "in/b/1.PNG", "in/b/1.jpg", "in/b/1.png"]
    assert all(os.path.isfile(record["image"]) for record in found)
    coco = json.loads((tmp_path / "o.json").read_text())
    assert len(coco["images"]) == 4 and len(coco["annotations"]) == 8 and coco["categories"][0]["name"] == "disc"
    for folder, count in (("ov", 4), ("cr", 8)):
        names = [entry.name for entry in (tmp_path / folder).iterdir() if entry.name[0] != "."]
        assert len(names) == count == len({name.lower() for name in names})
    assert attend("run", "in/a", "in/b", "--out", "two.jsonl") == 0
    assert sorted(map(repr, lines(tmp_path / "two.jsonl"))) == sorted(map(repr, without_crops(found)))
    assert all(os.path.isfile(gaze["crop"]) for record in found for gaze in record["gazes"])


def test_our_own_pictures_are_not_attended_later(fakes, run_path, images, tmp_path):
    assert attend(run_path, images, "--out", tmp_path / "1", "--overlays", images / "ov", "--crops", images / "cr") == 0
    assert attend(run_path, images, "--out", tmp_path / "2") == 0
    assert without_crops(lines(tmp_path / "1")) == lines(tmp_path / "2")


def test_what_can_not_be_used_is_an_error_line_and_the_run_goes_on(fakes, run_path, images, tmp_path, capfd):
    (images / "01.png").write_bytes((images / "01.png").read_bytes()[:60])
    (images / "02.png").write_bytes(b"")
    picture(images / "03.png", 7, height=13)
    assert attend(run_path, images, "--out", tmp_path / "o") == 0
    found = lines(tmp_path / "o")
    assert len(found) == 12
    broken = {os.path.basename(record["image"]): record["error"] for record in found if "error" in record}
    assert broken.keys() == {"01.png", "02.png", "03.png"}
    assert broken["03.png"] == "nothing can be attended in 13 rows"
    assert all(record.keys() == {"image", "error"} for record in found if "error" in record)
    assert "02.png" in capfd.readouterr().err


def test_an_image_gives_the_same_whatever_its_company_its_name_and_the_workers(fakes, run_path, images, tmp_path):
    out = itertools.count()

    def gazes(number, *arguments, workers=1):
        path = tmp_path / f"o{next(out)}"
        assert attend(run_path, *arguments, "--out", path, "--workers", workers, "--seed", "4") == 0
        return lines(path)[number]["gazes"]

    a, b = images / "03.png", images / "04.png"
    copy = tmp_path / "copy.png"
    copy.write_bytes(a.read_bytes())
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    alone = gazes(0, a)
    assert gazes(1, b, a) == gazes(0, a, b) == gazes(2, b, bad, a) == gazes(0, copy) == alone
    assert gazes(3, images, workers=4) == gazes(3, images) == alone


def test_resuming_after_a_cut_at_any_place_gives_the_same_file(fakes, run_path, images, tmp_path, monkeypatch):
    assert attend(run_path, images, "--out", tmp_path / "whole") == 0
    content = (tmp_path / "whole").read_bytes()
    for cut in [0, 1, *range(37, len(content), len(content) // 9), len(content) - 1, len(content)]:
        (tmp_path / "o").write_bytes(content[:cut])
        assert attend(run_path, images, "--out", tmp_path / "o", "--resume") == 0
        assert (tmp_path / "o").read_bytes() == content


def test_resuming_completes_coco_and_pictures(fakes, run_path, images, tmp_path):
    words = ["--coco", tmp_path / "c.json", "--crops", tmp_path / "cr"]
    assert attend(run_path, images, "--out", tmp_path / "o", *words) == 0
    coco = json.loads((tmp_path / "c.json").read_text())
    kept = (tmp_path / "o").read_bytes().splitlines(keepends=True)[:5]
    (tmp_path / "o").write_bytes(b"".join(kept))
    assert attend(run_path, images, "--out", tmp_path / "o", *words, "--resume") == 0
    assert json.loads((tmp_path / "c.json").read_text()) == coco


def test_results_are_not_overwritten_unasked_and_replaced_only_when_whole(fakes, run_path, images, tmp_path, capfd):
    out = tmp_path / "o"
    assert attend(run_path, images, "--out", out, "--max-gazes", "1") == 0
    first = out.read_bytes()
    assert attend(run_path, images, "--out", out) == 2 and out.read_bytes() == first
    assert "--overwrite" in capfd.readouterr().err
    assert attend(run_path, images, "--out", out, "--overwrite") == 0
    assert len(lines(out)[0]["gazes"]) == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in", "o", "run"]


def test_a_file_that_holds_something_else_is_left_alone(fakes, run_path, images, tmp_path):
    for content in ('{"other": 1}\n', "a poem\nof two lines\n", "a line\n", "no end"):
        (tmp_path / "o").write_text(content)
        for more in ([], ["--resume"]):
            assert attend(run_path, images, "--out", tmp_path / "o", *more) == 2
            assert (tmp_path / "o").read_text() == content


def test_shares_together_are_all_images_once(fakes, run_path, images, tmp_path, capfd):
    assert attend(run_path, images, "--out", tmp_path / "all") == 0
    parts = []
    for number in (1, 2, 3):
        assert attend(run_path, images, "--out", tmp_path / f"p{number}", "--shard", f"{number}/3") == 0
        parts += lines(tmp_path / f"p{number}")
    assert sorted(map(repr, parts)) == sorted(map(repr, lines(tmp_path / "all")))
    for wrong in ("0/3", "4/3", "1", "a/b", "1/0", "-1/2"):
        assert attend(run_path, images, "--out", tmp_path / "x", f"--shard={wrong}") == 2
        assert f"--shard {wrong}" in capfd.readouterr().err.splitlines()[-1]


def test_nothing_is_written_into_the_images(fakes, run_path, images, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (images, *images.rglob("*"))}
    assert attend(run_path, images, "--out", tmp_path / "o") == 0
    assert {path: path.stat().st_mtime_ns for path in (images, *images.rglob("*"))} == before


def test_no_room_for_the_results_is_one_line(fakes, run_path, images, tmp_path, capfd):
    assert attend(run_path, images, "--out", "/dev/full") == 2
    assert capfd.readouterr().err.splitlines()[-1] == "foveate: can't write /dev/full: no space left on device"
    assert attend(run_path, images, "--out", tmp_path / "gone" / "o") == 2
    assert attend(run_path, tmp_path / "gone", "--out", tmp_path / "o") == 2
    assert not (tmp_path / "o").exists()


def test_killed_stopped_and_piped_runs_lose_and_double_nothing(run_path, images, tmp_path, environment):
    program = tmp_path / "program.py"
    slow = FAKE.replace("PAUSE = 0.0", "PAUSE = 0.15")
    program.write_text(slow + "import sys\nfrom foveate.cli import main as cli\nsys.exit(cli.main())\n")
    command = [sys.executable, str(program), "attend", str(run_path), str(images), "--workers", "1"]

    def run(*words, stop_after=None, number=None):
        child = subprocess.Popen([*command, *words], env=environment, stderr=subprocess.PIPE, text=True)
        while stop_after is not None and child.poll() is None and count() < stop_after:
            time.sleep(0.01)
        if number is not None:
            child.send_signal(number)
        _, said = child.communicate(timeout=120)
        return child.returncode, said.splitlines()[-1] if said else ""

    def count():
        return (tmp_path / "o").read_bytes().count(b"\n") if (tmp_path / "o").exists() else 0

    out = ["--out", str(tmp_path / "o"), "--resume"]
    assert run(*out, stop_after=3, number=signal.SIGKILL)[0] == -9
    assert run(*out, stop_after=7, number=signal.SIGINT) == (130, "foveate: interrupted")
    assert 7 <= count() < 12
    assert run(*out)[0] == 0
    piped = subprocess.run(
        f"{' '.join(command)} --out - | head -n 2; echo ${{PIPESTATUS[0]}}",
        env=environment,
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    *passed_by, status = piped.stdout.splitlines()
    (tmp_path / "passed").write_text("\n".join(passed_by))
    assert lines(tmp_path / "passed") == lines(tmp_path / "o")[:2] and status in ("0", "141")
    assert piped.stderr == "12 images\n"
    assert [record["image"] for record in lines(tmp_path / "o")] == [str(images / f"{n:02d}.png") for n in range(12)]
