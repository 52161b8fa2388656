"""The page: one file, made from whatever there is, harmless whatever the names, small however many scenes."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.errors import BadInput
from foveate.report.page import write_report
from foveate.report.results import BoundStory, LearnStory, LocalizationStory, TrainingStory
from foveate.report.sections import bound
from foveate.report.story import PatchStory, ScenesStory, SceneStory, Step

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
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert not re.search(r"https?:|//[a-z]+\.|@import", re.sub(r"data:image/[^\"')]+", "", read.text))
    assert all(address.startswith(("data:", '"${')) for address in re.findall(r"url\(([^)]*)", read.text))
    policy = next(meta["content"] for meta in read.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'") and "unsafe-inline'; script" in policy
    assert read.elements[2] == ("meta", {"charset": "utf-8"}) or ("meta", {"charset": "utf-8"}) in read.elements[:4]


def test_names_are_text_everywhere(read: Reader):
    assert len(read.scripts) == 2  # the player's data and the player
    data = json.loads(read.scripts[0])
    assert data[0]["name"] == EVIL and "<" not in read.scripts[0]
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
    chart = str(bound(BoundStory({"bound": 10.0, "log_z": 50.0, "log_z_lower": 49.0, "log_z_upper": 48.0}))["chart"])
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


def test_the_same_run_gives_the_same_page_wherever_it_is_written(run, page, tmp_path):
    first, second = page.read_text(), write_report(run, tmp_path / "elsewhere.html").read_text()
    stamp = re.compile(r"Written by foveate, [^.]*\.")
    assert stamp.sub("", first) == stamp.sub("", second)


def test_a_run_has_its_card_beside_its_page_with_the_same_figures(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "RUN", ignore=shutil.ignore_patterns("README.md"))
    write_report(copy, tmp_path / "page.html")
    assert not (copy / "README.md").exists(), "a page elsewhere is no reason to write into the run"
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
