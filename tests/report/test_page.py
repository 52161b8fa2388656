"""The page: one file, made from whatever there is, harmless whatever the names, small however many scenes."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.report.comparisons import bounds
from foveate.report.page import write_report
from foveate.report.results import BoundStory, LearnStory, LocalizationStory, TrainingStory
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Step

EVIL = "</script><script>window.hacked=1</script>.png"


class Reader(HTMLParser):
    """All elements with their attributes, and the text of each script."""

    def __init__(self, page: Path | str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script" and not self.scripts[-1]:
            self.scripts[-1] = data
        elif self.elements and self.elements[-1][0] != "style":
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def read(page: Path) -> Reader:
    return Reader(page)


def test_nothing_on_the_page_leads_outside_it(read: Reader):
    for tag, attributes in read.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name)
            beside = tag == "a" and value is not None and re.fullmatch(r"(?:\.\./)?[\w%-][\w%./-]*", value)
            assert value is None or value.startswith(("data:", "#")) or beside, (tag, name, value)
    assert not re.search(r"https?:|//[a-z]+\.|@import", re.sub(r"data:image/[^\"')]+", "", read.text))
    assert all(address.startswith(("data:", '"${')) for address in re.findall(r"url\(([^)]*)", read.text))
    policy = next(meta["content"] for meta in read.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'") and "unsafe-inline'; script" in policy
    assert read.elements[2] == ("meta", {"charset": "utf-8"}) or ("meta", {"charset": "utf-8"}) in read.elements[:4]


def test_names_are_text_everywhere(read: Reader):
    assert len(read.scripts) == 2  # the player's data and the player
    data = json.loads(read.scripts[0])
    assert EVIL in [one["name"] for one in data] and "<" not in read.scripts[0]
    assert not [attributes for _, attributes in read.elements if any(name.startswith("on") for name in attributes)]
    assert all(image.get("src", "").startswith("data:image/") for image in read.of("img"))
    titles = [span.get("title") for span in read.of("span")]
    assert EVIL in titles and 'a&b "50%" <img src=x onerror=window.hacked=1>.png' in titles
    assert any("صورة.png" in words for words in read.words) and any("cafe\u0301" in words for words in read.words)


def test_every_picture_has_words(read: Reader):
    assert len(read.of("img")) > 10
    assert all((image.get("alt") or "").strip() for image in read.of("img"))
    drawn = [svg for svg in read.of("svg") if svg.get("aria-hidden") != "true" and svg.get("id") != "stage"]
    assert len(drawn) > 40
    assert all((svg.get("aria-label") or "").strip() and svg.get("role") == "img" for svg in drawn if "class" in svg)
    assert any("goes from 2" in (svg.get("aria-label") or "") for svg in drawn)  # accuracy by step, in words


def test_every_identifier_is_used_once_and_every_reference_leads_somewhere(read: Reader):
    ids = [attributes["id"] for _, attributes in read.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for use in read.of("use"):
        assert use.get("href", "#stage")[1:] in ids
    for _, attributes in read.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids
        assert attributes.get("for", ids[0]) in ids
    photographs = [image["href"] for image in read.of("image")]
    shown = {scene["photo"] for scene in json.loads(read.scripts[0])}
    assert len(shown) == 24 and len(photographs) == 24 + 4 * 4  # and four of each of four rounds


def test_all_sections_are_there(read: Reader):
    words = " ".join(read.words)
    for expected in (
        "Effect of alignment", "Training data", "Inference, step by step", "Successes and failures",
        "Two stages", "Localization", "Learning without annotations", "The demo's table",
        "Density of held-out patches", "The patch model", "Training curves", "Health",
        "Showing 24 of 5,000", "Round 3 was undone:", "96.2\u202f%", "3,798.5",
    ):  # fmt: skip
        assert expected in words, expected


def test_a_wide_bracket_is_said(tmp_path):
    story = tmp_path / "story"
    figures = {"bound": 100.0, "log_z": 50.0, "log_z_lower": 49.9, "log_z_upper": 50.4}
    BoundStory(figures).save(story)
    assert "The bracket is wide" not in write_report(tmp_path).read_text()
    BoundStory(figures | {"log_z_upper": 75.0}).save(story)
    assert "The bracket is wide" in write_report(tmp_path).read_text()


def test_a_bracket_holds_its_own_bound():
    """Though the reverse estimate of log Z be below the forward one, which the bound was had with."""
    figures = {"bound": 10.0, "log_z": 50.0, "log_z_lower": 49.0, "log_z_upper": 48.0}
    chart = str((bounds([BoundStory(figures)]) or {})["chart"])
    left, right = map(float, re.findall(r'class="bracket [a-d]" d="M([\d.]+) [^M]*M([\d.]+) ', chart)[0])
    (dot,) = re.findall(r'<circle [^>]*cx="([\d.]+)"', chart)
    assert left <= float(dot) <= right and left < right


@pytest.mark.parametrize(
    ("chapter", "heading"),
    [
        (
            LocalizationStory({"photos": 0, "objects": 0, "top1": {"0.5": None}, "by_step": []}),
            "Localization",
        ),
        (BoundStory({"bound": None, "log_z": None}), "Density of held-out patches"),
        (LearnStory([], bound_before=1.0), "Learning without annotations"),
        (TrainingStory({"scenes": 3}), "Training data"),
        (ScenesStory([SceneStory("a", np.zeros((4, 5, 3), np.uint8), 5, 4)], 1), "Attended images"),
        (PatchStory(torch.rand(1, 3, 24, 24), 1), "Effect of alignment"),
    ],
)
def test_a_chapter_alone_makes_a_page_of_its_section_alone(tmp_path, chapter, heading):
    chapter.save(tmp_path / "story")
    page = Reader(write_report(tmp_path))
    assert len(page.of("h2")) == 1 and heading in " ".join(page.words)


def test_a_run_that_has_just_begun_has_a_page(tmp_path):
    (tmp_path / "config.toml").write_text('seed = 3\ncategory = "<b>face</b>"\n')
    (tmp_path / "metrics.jsonl").write_text('{"phase": "grbm", "epoch": 0, "loss": 1.0}\n{"phase": "grbm", "ep')
    page = Reader(write_report(tmp_path))
    assert "Looking for “<b>face</b>”" in " ".join(page.words) and not page.of("b")


def test_a_model_of_six_pixels_is_examined_without_pictures(tmp_path):
    GaussianDBN(6, 4, 3).save(tmp_path / "gdbn.safetensors")
    page = Reader(write_report(tmp_path))
    assert "6 pixels, 4 and 3 hidden units" in " ".join(page.words) and not page.of("img")


def test_gazes_that_are_not_finite_are_left_out(tmp_path):
    steps = [Step([float("nan"), 0.0, 1.0, 1.0], "start"), Step([1e30, 0.0, 1.0, 1.0], "convnet", score=float("inf"))]
    ScenesStory([SceneStory("a", np.zeros((4, 5, 3), np.uint8), 5, 4, steps=steps)], 1).save(tmp_path / "story")
    page = Reader(write_report(tmp_path))
    assert "NaN" not in page.scripts[0] and "Infinity" not in page.scripts[0]
    assert json.loads(page.scripts[0])[0]["steps"][1]["score"] is None


def test_a_page_of_many_noisy_photographs_stays_under_ten_megabytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (360, 360, 3), dtype=np.uint8)
    scenes = [SceneStory(f"{index}.png", noise, 6000, 6000, success=index % 2 == 0) for index in range(24)]
    for name in ("one", "two", "three"):
        ScenesStory(scenes, total=5000, name=name).save(tmp_path / "story")
    page = write_report(tmp_path)
    assert page.stat().st_size < 10_000_000
    text = page.read_text()
    assert re.search(r"Showing \d+ of 5,000", text) and "Missed" in text


def test_the_same_run_gives_the_same_page(run, read: Reader):
    first, second = read.text, write_report(run).read_text()
    stamp = re.compile(r"Written by foveate, [^.]*\.")
    assert stamp.sub("", first) == stamp.sub("", second)


def test_a_run_has_its_card_beside_its_page_with_the_same_figures(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "RUN", ignore=shutil.ignore_patterns("README.md"))
    write_report(copy)
    card = (copy / "README.md").read_text(encoding="utf-8")
    stories = [*LocalizationStory.load_all(run / "story"), *BoundStory.load_all(run / "story")]
    assert len(stories) >= 2 and all(f"| {story.name} |" in card for story in stories)
    assert card.count("\n---\n") == 1 and "nan" not in card and "None" not in card
    ScenesStory([SceneStory("a", np.zeros((4, 5, 3), np.uint8), 5, 4)], 1).save(tmp_path / "story")
    write_report(tmp_path)
    assert not (tmp_path / "README.md").exists(), "a folder without config.toml is no run"


def test_neither_page_nor_card_tells_where_folders_lie(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    place = "/home/somebody/very secret/signs"
    told = {"command": "learn", "scenes": place, "run": f"{place}/../RUN", "replay": place, "category": "sign"}
    (run / "config.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items()))
    write_report(run)
    for name in ("report.html", "README.md"):
        text = (run / name).read_text(encoding="utf-8")
        assert "somebody" not in text and "signs" in text and "RUN" in text


def test_no_run_nothing_in_it_or_damage_is_said_in_one_line(tmp_path):
    with pytest.raises(BadInput, match="no such RUN folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="nothing to report"):
        write_report(tmp_path)
    (tmp_path / "gdbn.safetensors").write_bytes(b"not it")
    with pytest.raises(BadInput, match=r"gdbn\.safetensors"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def several(story: Path) -> None:
    """Two models on the same images and patches, saved in the order that is not theirs."""
    for order, name, top1 in ((2, "after", 0.9), (1, "before", 0.4)):
        figures = {"photos": 50, "photos_with_objects": 50, "top1": {"0.5": top1, "0.7": top1 / 2}}
        figures["constant_box"] = {"0.5": 0.2}
        reliability = [[0.2, 0.3, 9], [0.9, 0.8, 41]]
        LocalizationStory(figures | {"calibration": {"reliability": reliability}}, name, order).save(story)
        BoundStory({"iw_bound": 100.0 * order, "iw_stderr": 7.0, "n": 50}, name, order).save(story)


def test_runs_stand_side_by_side_on_one_axis_before_before_after(tmp_path):
    several(tmp_path / "story")
    page = Reader(write_report(tmp_path))
    assert len([one for one in page.of("section") if one.get("id") in ("localization", "bounds")]) == 2
    labels = [
        svg["aria-label"] or "" for svg in page.of("svg") if (svg.get("aria-label") or "").startswith(("Top", "Mean"))
    ]
    assert labels[0].startswith("Top-1 accuracy: before (n = 50) 40.0") and "; after (n = 50) 90.0" in labels[0]
    assert "before 100 ±\N{NO-BREAK SPACE}7; after 200 ±\N{NO-BREAK SPACE}7" in labels[-1]
    assert "before: constant box 20.0" in labels[0]
    words = " ".join(page.words)
    # Wilson's of 45 in 50
    assert "n = 50; 95\u202f% interval 78.6\u202f% to 95.7\u202f%; a constant box: 20.0\u202f%" in words
    assert "A constant box is" in words


def test_a_constant_box_is_explained_only_where_one_is_shown(tmp_path):
    figures = {"photos": 50, "photos_with_objects": 50, "top1": {"0.5": 0.9}}
    (tmp_path / "story").mkdir()
    LocalizationStory(figures, "held out").save(tmp_path / "story")
    assert "onstant box" not in " ".join(Reader(write_report(tmp_path)).words)


def test_a_found_gaze_with_a_low_probability_comes_with_its_reason(tmp_path):
    several(tmp_path / "story")
    whole, far = (
        SceneStory("b.png", np.zeros((9, 9, 3), np.uint8), 9, 9, [[2, 0, 4, 4]], iou=0.96),
        [1.0, 0.0, 2.0, 2.0],
    )
    whole.steps, whole.success, whole.found = [Step(far, "start")], True, [FoundGaze(far, 0.22)]
    missed = replace(whole, name="a.png", iou=0.0, success=False)
    ScenesStory([whole, missed], 2, "after", 1, 1, folder="images").save(tmp_path / "story")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").write_bytes(b"there")
    page = Reader(write_report(tmp_path))
    first, second = json.loads(page.scripts[0])
    assert first["group"].startswith("Missed") and first["link"] == "" and first["reason"] == ""
    assert second["link"] == "images/b.png" and second["verdict"] == "found, IoU 0.96, P\N{NO-BREAK SPACE}22\u202f%"
    assert second["reason"] == "P 22\u202f% though found: of 9 gazes stated at about 20\u202f%, 30\u202f% were right"


def test_warnings_stand_before_everything_else(read: Reader):
    sections = [one.get("id") for one in read.of("section")]
    assert sections[0] == "warnings"
    assert "Round 3 was undone" in read.text[read.text.index('id="warnings"') : read.text.index('id="alignment"')]


def test_without_pictures_the_page_holds_none(run, tmp_path):
    page = write_report(shutil.copytree(run, tmp_path / "RUN"), pictures=False).read_text()
    assert "data:image" not in page and "Top-1 accuracy" in page and "Health" in page


def test_the_page_links_to_those_beside_it(tmp_path):
    for name in ("one", "two"):
        several(tmp_path / name / "story")
        write_report(tmp_path / name)
    (tmp_path / "scenes" / "a b").mkdir(parents=True)
    (tmp_path / "scenes" / "a b" / "annotations.json").write_text("{}")
    TrainingStory({"scenes": 3}).save(tmp_path / "story")
    links = [a.get("href") for a in Reader(write_report(tmp_path)).of("a")]
    assert {"one/report.html", "two/report.html", "scenes/a%20b/"} <= set(links)
    links = [a.get("href") for a in Reader(write_report(tmp_path / "one")).of("a")]
    assert "../report.html" in links and "../two/report.html" in links
