"""`foveate suggest`: what it prints, and what it writes to be corrected."""

import json

from fake_attention import picture
from PIL import Image

from foveate.cli import main as cli


def suggest(*words):
    return cli.run(["suggest", *map(str, words)])


def test_a_path_and_its_reason_a_line_and_the_same_in_json(fakes, run_path, images, capfd):
    picture(images / "copy.png", 110)
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert suggest(run_path, images, "--count", "3") == 0
    out, err = capfd.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) == 3 and all(len(row) == 2 and row[1].startswith("uncertain (places with P") for row in rows)
    assert "broken.png: " in err
    assert suggest(run_path, images, "--count", "99", "--json") == 0
    out, err = capfd.readouterr()
    figures = json.loads(out)
    assert figures["images"] == 13 and figures["errors"] == 1
    named = [each["image"] for each in figures["suggested"]]
    assert [row[0] for row in rows] == named[:3] and len(named) == 12 and "the others are copies" in err
    assert len({name for name in named if name.endswith(("copy.png", "11.png"))}) == 1


def test_a_contact_sheet_and_pre_annotations_are_written(fakes, run_path, images, tmp_path, capfd):
    out, cvat = tmp_path / "next", tmp_path / "cvat.xml"
    assert suggest(run_path, images, "--count", "5", "--out", out, "--cvat", cvat, "--overlays", tmp_path / "o") == 0
    named = [line.split("\t")[0] for line in capfd.readouterr().out.splitlines()]
    with Image.open(out / "sheet.jpg") as sheet:
        assert sheet.width > 4 * 320
    coco = json.loads((out / "pre-annotations.coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == named and len(coco["annotations"]) == 10
    assert coco["categories"][0]["name"] == "disc" and cvat.read_text().count("<box ") == 10
    assert len(list((tmp_path / "o").glob("*.jpg"))) == 5
    capfd.readouterr()
    (tmp_path / "file").write_text("")
    assert suggest(run_path, images, "--out", tmp_path / "file") == 2
    assert suggest(run_path, images, "--out", images) == 2
    assert "--out" in capfd.readouterr().err and suggest(run_path, tmp_path / "none") == 2
