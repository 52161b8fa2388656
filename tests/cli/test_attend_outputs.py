"""What `foveate attend` writes beside its lines, the places that it refuses, and its exit status."""

import csv
import json
import resource

import numpy as np
import pytest
from fake_attention import attend, lines, picture
from folders import coco_folder
from PIL import Image
from untrained import write_untrained

from foveate.attention.found import Found
from foveate.attention.images.image_files import Attended
from foveate.boltzmann.dbn import GaussianDBN
from foveate.cli.outputs import Outputs, Pictures
from foveate.scenes.folder import read_scenes


def test_draws_of_every_gaze_that_has_a_posterior_are_written_once(tmp_path, capfd):
    write_untrained(tmp_path / "run", 6, 4)
    picture(tmp_path / "in" / "a.png", 90, 60)
    out, draws = tmp_path / "o.jsonl", tmp_path / "draws.npz"
    words = (tmp_path / "run", tmp_path / "in", "--out", out, "--draws", draws, "--min-probability", "0")
    assert attend(*words) == 0
    (line,) = lines(out)
    with np.load(draws) as data:
        known = [k for k, gaze in enumerate(line["gazes"], start=1) if "ess" in gaze and gaze["ess"] is not None]
        assert known and data["number"].tolist() == known and set(data["image"]) == {line["image"]}
        of = data["gaze"] == 0
        mean = (data["weight"][of, None] * data["u"][of])[:, 2:].sum(0)
        assert mean == pytest.approx(line["gazes"][0]["u"][2:], abs=1e-6)
    assert attend(*words, "--resume") == 2 and "start anew" in last_line(capfd)


def last_line(capfd):
    return capfd.readouterr().err.splitlines()[-1]


def test_a_file_begun_with_another_run_or_other_settings_is_not_gone_on_with(fakes, run_path, images, tmp_path, capfd):
    out, other = tmp_path / "o", tmp_path / "other"
    assert attend(run_path, images / "00.png", "--out", out) == 0
    first = json.loads(out.read_text())
    assert first["foveate"]["run"] == "run" and len(first["foveate"]["hash"]) == 16
    assert first["foveate"]["settings"]["max_gazes"] == 20
    before = out.read_bytes()
    other.mkdir()
    for name in run_path.iterdir():
        (other / name.name).write_bytes(name.read_bytes())
    model = GaussianDBN(3, 2, 2)
    model.grbm.b.data += 1
    model.save(other / "gdbn.safetensors")
    for words, said in (
        ((other, images), "was started with the RUN run ("),
        ((run_path, images, "--max-gazes", "3"), "was started with settings.max_gazes = 20, not 3"),
        ((run_path, images, "--seed", "5"), "was started with settings.seed = 0, not 5"),
        ((run_path, images, "--tiles"), "was started with tiles = False, not True"),
    ):
        assert attend(*words, "--out", out, "--resume") == 2
        assert said in last_line(capfd) and out.read_bytes() == before
    assert attend(run_path, images, "--out", out, "--resume") == 0 and len(lines(out)) == 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "o", "--coco", "o"], "--out and --coco are one file"),
        (["--out", "o", "--coco", "./x", "--csv", "x"], "--coco and --csv are one file"),
        (["--out", "o.images.csv", "--csv", "o.csv"], "--out and the images of --csv are one file"),
        (["--out", "in/00.png", "--overwrite"], "00.png is one of the images, and would be overwritten"),
        (["--out", "o", "--coco", "no/such/folder/x.json"], "can't write --coco no/such/folder/x.json: no such folder"),
        (["--out", "o", "--cvat", "in"], "can't write --cvat in: it is a folder"),
        (["--out", "o", "--crops", "in/00.png"], "can't write --crops in/00.png: not a folder"),
        (["--out", "o", "--crops", "in/sub"], "--crops in/sub: lies among the images and holds other files"),
        (["--out", "o", "--draws", "d.csv"], "--draws d.csv: expected a file that ends in .npz or .nc"),
        (["--out", "o", "--draws", "d.npz", "--ray", "local"], "--draws can't be combined with --ray"),
        (["--out", "o", "--overlays", "in"], "--overlays in: lies among the images and holds other files"),
    ],
)
def test_places_are_checked_before_anything_is_done(run_path, images, tmp_path, monkeypatch, capfd, words, said):
    """No model could be loaded here: whatever gets so far fails with other words."""
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "in/sub/mine.png", 5)
    before = sorted(path for path in tmp_path.rglob("*"))
    assert attend("run", "in", *words) == 2
    assert said in last_line(capfd) and sorted(path for path in tmp_path.rglob("*")) == before


def test_a_folder_that_holds_others_files_is_never_marked(fakes, run_path, images, tmp_path):
    picture(tmp_path / "mine/photo.png", 5)
    assert attend(run_path, images, "--out", tmp_path / "o", "--crops", tmp_path / "mine") == 0
    assert not (tmp_path / "mine/.foveate-output").exists()
    assert attend(run_path, tmp_path / "mine/photo.png", "--out", tmp_path / "p") == 0


def test_a_run_in_which_every_input_failed_is_status_2_with_the_kind_named(fakes, run_path, images, tmp_path, capfd):
    scan, film = tmp_path / "scan.pdf", tmp_path / "film.mp4"
    scan.write_bytes(b"%PDF-1.7\n" + bytes(200))
    film.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(200))
    out = tmp_path / "o"
    assert attend(run_path, scan, film, "--out", out) == 2
    assert last_line(capfd) == "foveate: none of the 2 images can be used"
    assert [line["error"].split(":")[0] for line in lines(out)] == ["a PDF document", "a video"]
    assert attend(run_path, scan, images / "00.png", "--out", tmp_path / "p") == 0


def test_the_first_of_several_pages_is_used_and_it_is_said_once(fakes, run_path, tmp_path, capfd):
    pages = [Image.fromarray(np.full((20, 30, 3), shade, np.uint8)) for shade in (10, 200)]
    for name in ("a.tif", "b.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    places = {}
    for page in (None, 1, 2):
        words = [] if page is None else ["--page", page]
        assert attend(run_path, tmp_path / "a.tif", tmp_path / "b.tif", "--out", tmp_path / f"o{page}", *words) == 0
        places[page] = lines(tmp_path / f"o{page}")[0]["gazes"][0]["u"]
        said = [line for line in capfd.readouterr().err.splitlines() if "pages" in line]
        assert len(said) == (page is None) and all("a.tif has 2 pages: the first is used" in line for line in said)
    assert places[None] == places[1] != places[2]
    assert attend(run_path, tmp_path / "a.tif", "--out", tmp_path / "o3", "--page", "3") == 2
    assert lines(tmp_path / "o3")[0]["error"] == "no page 3, it has 2"


def test_the_folder_s_other_kinds_are_named(fakes, run_path, images, tmp_path, capfd):
    (images / "scan.pdf").write_bytes(b"%PDF-1.7\n" + bytes(200))
    assert attend(run_path, images, "--out", tmp_path / "o") == 0
    assert "scan.pdf is a PDF document: save its pages as images" in capfd.readouterr().err


def test_wrong_paths_are_answered_in_under_a_second(foveate, tmp_path):
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = usage.ru_utime + usage.ru_stime
    ended = foveate("attend", "nosuch", "x", "--out", "y", cwd=tmp_path)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended.returncode == 2 and ended.stderr.startswith("foveate: nosuch: no such RUN folder")
    assert usage.ru_utime + usage.ru_stime - before < 1.0


def test_tables_have_a_row_a_gaze_and_a_row_an_image(fakes, run_path, images, tmp_path):
    (images / "03.png").write_bytes(b"")
    words = ["--csv", tmp_path / "t.csv", "--crops", tmp_path / "c"]
    assert attend(run_path, images, "--out", tmp_path / "o", *words) == 0
    found = lines(tmp_path / "o")
    with open(tmp_path / "t.csv", newline="") as handle:
        gazes = list(csv.DictReader(handle))
    with open(tmp_path / "t.images.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    expected = [(line["image"], gaze) for line in found for gaze in line.get("gazes", [])]
    assert len(gazes) == len(expected) == 22
    for row, (name, gaze) in zip(gazes, expected, strict=True):
        assert row["image"] == name and row["crop"] == gaze["crop"]
        assert [float(row[key]) for key in ("x", "y", "scale", "angle", "x0", "probability")] == [
            *gaze["u"][2:], gaze["scale"], gaze["angle"], gaze["box"][0], gaze["probability"]
        ]  # fmt: skip
        assert row["std_a"] == "" and gaze["std"] == [None] * 4
    assert [row["rank"] for row in gazes[:4]] == ["1", "2", "1", "2"]
    assert [row["image"] for row in rows] == [line["image"] for line in found]
    assert rows[3]["error"] == "the file is empty" and rows[0]["gazes"] == "2" and rows[0]["error"] == ""


def test_crops_have_the_size_and_the_margin_that_are_asked_for(tmp_path):
    """A disc that fills its window: with a margin of half the window's side on each side it fills a quarter as much."""
    y, x = np.mgrid[:80, :120] + 0.5
    pixels = np.repeat(np.where((x - 50) ** 2 + (y - 40) ** 2 < 144, 255, 0)[..., None], 3, -1).astype(np.uint8)
    u = np.array([12.0, 0.0, 50.0, 40.0])
    found = Found(u, 3.0, 0.9, u[None], network_steps=1)
    attended = Attended("disc.png", pixels, [found], width=120, height=80)
    for margin, share in ((0.0, np.pi / 4), (0.5, np.pi / 16)):
        folder = str(tmp_path / f"{margin}")
        pictures = Pictures(Outputs(crops=folder, crop_size=64, crop_margin=margin))
        pictures.write(attended)
        line = pictures.tell({"image": "disc.png", "gazes": [{"u": [12.0, 0.0, 50.0, 40.0]}]})
        with Image.open(line["gazes"][0]["crop"]) as crop:
            assert crop.size == (64, 64)
            assert np.asarray(crop).mean() / 255 == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("wrong", [["--crop-size", "0"], ["--crop-margin", "-1"]])
def test_sizes_of_crops_are_checked(run_path, images, tmp_path, wrong):
    assert attend(run_path, images, "--out", tmp_path / "x", "--crops", tmp_path / "y", *wrong) == 2


def test_coco_has_the_ids_names_and_kinds_of_the_annotations_that_the_images_come_from(fakes, run_path, tmp_path):
    folder = coco_folder(tmp_path / "in", [("images/a.png", []), ("images/b.png", [])], size=(30, 20))
    document = json.loads((folder / "annotations.json").read_text())
    document["images"] = [{"id": 7, "file_name": "a.png"}, {"id": "x12", "file_name": "up/4/b.png"}]
    document["categories"] = [{"id": 3, "name": "disc"}, {"id": 9, "name": "cross"}]
    (folder / "annotations.json").write_text(json.dumps(document))
    picture(folder / "images/later.png", 50)
    assert attend(run_path, folder, "--out", tmp_path / "o", "--coco", tmp_path / "c.json") == 0
    coco = json.loads((tmp_path / "c.json").read_text())
    assert [(image["id"], image["file_name"]) for image in coco["images"]] == [
        (7, "a.png"), ("x12", "up/4/b.png"), (8, f"{folder}/images/later.png")
    ]  # fmt: skip
    assert {annotation["category_id"] for annotation in coco["annotations"]} == {3}
    assert [annotation["image_id"] for annotation in coco["annotations"]] == [7, 7, "x12", "x12", 8, 8]
    assert {each["name"]: each["id"] for each in coco["categories"]} == {"disc": 3, "cross": 9}


@pytest.mark.parametrize("tool", ["--cvat", "--label-studio", "--yolo-obb", "--coco"])
def test_what_is_written_for_annotation_tools_is_read_again(fakes, run_path, images, tmp_path, tool):
    picture(images / "more/00.png", 70)
    places = {"--cvat": "annotations.xml", "--coco": "annotations.json", "--label-studio": "export.json"}
    place = places.get(tool, "yolo")
    assert attend(run_path, images, "--out", tmp_path / "o", tool, tmp_path / place, "--max-gazes", "1") == 0
    scenes = tmp_path / ("in" if tool == "--coco" else "corrected")  # COCO names images as they were attended
    images.rename(scenes)
    if tool == "--yolo-obb":
        for path in (tmp_path / place / "labels").rglob("*.txt"):
            path.rename(scenes / path.relative_to(tmp_path / place / "labels"))
        (tmp_path / place / "data.yaml").rename(scenes / "data.yaml")
    elif tool == "--label-studio":
        tasks = json.loads((tmp_path / place).read_text())
        for task in tasks:
            task["annotations"] = [{"result": task["predictions"][0]["result"]}]
        (scenes / place).write_text(json.dumps(tasks))
    else:
        (tmp_path / place).rename(scenes / place)
    read = {scene.name: scene for scene in read_scenes(scenes).scenes}
    assert len(read) == 13
    for line in lines(tmp_path / "o"):
        scene = read[line["image"].removeprefix(f"{images}/")]
        truth = np.array([gaze["u"] for gaze in line["gazes"]])
        inside = (truth[:, 2:] >= 0).all(1) & (truth[:, 2:] <= (30, 20)).all(1)
        np.testing.assert_allclose(scene.gazes, truth[inside], atol=0.01)


def test_two_kinds_in_one_picture_are_told_apart_in_every_file(fakes, run_path, images, tmp_path, capfd):
    ring = tmp_path / "ring"
    ring.mkdir()
    for name in run_path.iterdir():
        (ring / name.name).write_bytes(name.read_bytes())
    (ring / "config.toml").write_text('category = "ring"\n[settings.attend]\nseed = 3\n')
    out, coco, cvat, yolo = (tmp_path / name for name in ("o", "c.json", "c.xml", "y"))
    words = (run_path, images / "00.png", "--out", out, "--with", ring)
    assert attend(*words, "--coco", coco, "--cvat", cvat, "--yolo-obb", yolo, "--csv", tmp_path / "t.csv") == 0
    first = json.loads(out.read_text())
    assert first["counts"].keys() == {"disc", "ring"}
    (gaze,) = first["gazes"]  # all four of them are at one place
    assert gaze["category"] == "disc" and first["foveate"]["with"][0]["run"] == "ring"
    named = {each["name"]: each["id"] for each in json.loads(coco.read_text())["categories"]}
    assert json.loads(coco.read_text())["annotations"][0]["category_id"] == named["disc"]
    assert cvat.read_text().count("<label>") == 2 and 'label="disc"' in cvat.read_text()
    assert 'names: ["disc", "ring"]' in (yolo / "data.yaml").read_text().replace('","', '", "')
    assert next(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))["category"] == "disc"
    for more, said in ((["--like", "x.png"], "--with can't be combined"), (["--with", run_path], "names that differ")):
        assert attend(*words[:-2], "--with", ring, *more, "--overwrite") == 2 and said in last_line(capfd)
