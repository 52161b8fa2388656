"""`foveate check`: figures and doubts of a folder, in seconds and without torch."""

import json
import resource
import subprocess
import sys

import pytest
from folders import coco_folder

from foveate.cli import main as cli

BOXES = [[10 + 15 * k, 20 + 8 * k, 40, 40] for k in range(12)]


@pytest.fixture
def scenes(tmp_path):
    images = [(f"images/{k:02}.png", [box]) for k, box in enumerate(BOXES)]
    images[3][1].append([400, 400, 30, 30])
    return coco_folder(tmp_path / "scenes", [*images, ("images/empty.png", [])])


def test_figures_and_doubts_are_one_json_object(scenes, capfd):
    assert cli.run(["check", str(scenes), "--json"]) == 0
    out, err = capfd.readouterr()
    found = json.loads(out)
    names = ("layout", "images", "objects", "empty", "unannotated")
    assert [found[name] for name in names] == ["coco", 13, 12, 0, 1]
    kinds = {problem["kind"]: problem for problem in found["problems"]}
    assert kinds["outside"] == {"kind": "outside", "count": 1, "examples": ["images/03.png, id 5"]}
    assert kinds["unannotated"]["count"] == 1 and all(
        problem.keys() == {"kind", "count", "examples"} for problem in found["problems"]
    )
    assert err == ""


def test_people_get_the_same_doubts_in_words(scenes, capfd):
    assert cli.run(["check", str(scenes), "--unannotated", "empty"]) == 0
    out, err = capfd.readouterr()
    assert "images        13\n" in out and "empty         1\n" in out
    assert "\n- 1 of 13 annotations lie outside their image" in out and err == ""


@pytest.mark.parametrize("command", ["train", "learn", "evaluate localization"])
def test_other_commands_say_the_same_first(scenes, capfd, command, tmp_path):
    """They end for want of a RUN, of settings or of objects; what is doubtful has been said by then."""
    from untrained import write_untrained

    cli.run(["check", str(scenes)])
    lines = [line[2:] for line in capfd.readouterr().out.splitlines() if line.startswith("- ")]
    assert len(lines) >= 3
    run = tmp_path / "run"
    write_untrained(run, 6, 4)
    words = {
        "train": ["train", scenes, "--out", tmp_path / "out", "--print-config"],
        "learn": ["learn", run, scenes, "--out", tmp_path / "out", "--replay", scenes, "--set", "rounds=1"],
        "evaluate localization": ["evaluate", "localization", run, scenes, "--select", ":"],
    }[command]
    if command == "learn":  # its own annotations are not looked at; those that are replayed are
        from foveate.cli import replay
        from foveate.scenes.folder import Scenes

        replay.read(replay.Replay(str(scenes), required=True), Scenes([]), {})
    else:
        cli.run([str(word) for word in words])
    said = capfd.readouterr().err
    assert all(line in said for line in lines)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([("a.png", [])], "0 images with an annotated object"),
        ([(f"{k}.png", [BOXES[k]]) for k in range(4)], "4 images with an annotated object, at least 6 are needed"),
        (
            [(f"{k}.png", [{"bbox": BOXES[k], "iscrowd": 1}]) for k in range(8)],
            "0 images with an annotated object, at least 6 are needed to train (8 of 8 annotations are crowds",
        ),
        ([(f"{k}.png", [{"bbox": [1, 1, 0, 0]}]) for k in range(8)], "no usable box or keypoints"),
    ],
)
def test_what_can_not_be_trained_on_is_status_2_with_the_reason(tmp_path, capfd, images, said):
    folder = coco_folder(tmp_path / "scenes", images)
    assert cli.run(["check", str(folder), "--json"]) == 2
    out, err = capfd.readouterr()
    assert json.loads(out)["images"] == len(images) and said in err and err.count("\n") == 1


def test_a_folder_without_annotations_or_none_at_all_is_status_2(tmp_path, capfd):
    from folders import picture

    (tmp_path / "plain").mkdir()
    picture().save(tmp_path / "plain/a.png")
    for name, said in (("plain", "0 images with an annotated object"), ("nosuch", "not a folder")):
        assert cli.run(["check", str(tmp_path / name), "--json"]) == 2
        out, err = capfd.readouterr()
        assert json.loads(out)["objects"] == 0 and said in err


def test_twelve_images_take_no_torch_and_little_more_time_than_libraries_take_to_import(scenes, foveate, environment):
    script = (
        "import sys; from foveate.cli import main as cli; cli.run(['check', sys.argv[1]]); "
        "print('torch' in sys.modules, 'numba' in sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, str(scenes)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ended.stderr == "False False\n"

    def once(program):
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        before = usage.ru_utime + usage.ru_stime
        subprocess.run([sys.executable, *program], env=environment, capture_output=True, check=True)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime - before

    check, libraries = ["-m", "foveate", "check", str(scenes)], ["-c", "import numpy, PIL.Image, pydantic, cyclopts"]
    pairs = [(once(check), once(libraries)) for _ in range(3)]  # 0.37 and 0.16 seconds where this was written
    assert min(ours for ours, _ in pairs) < 3.5 * min(theirs for _, theirs in pairs)
