"""Attention in Python: images however they are held, the figures of the command line, what is found at hand."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from founds import chains, found
from PIL import Image
from untrained import write_untrained

import foveate
from foveate.attention.attend import Attention
from foveate.attention.output import to_json
from foveate.attention.settings import PosteriorSettings
from foveate.cli import main as cli
from foveate.errors import BadInput
from foveate.runtime.progress import NotebookLine, Progress
from foveate.scenes.image import read_image
from foveate.scenes.inputs import as_picture
from foveate.storage.config import to_toml

LARGEST = 48


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A RUN with settings of its own, that reduces images to 48 pixels."""
    run = write_untrained(tmp_path_factory.mktemp("held") / "run", 6, 4)
    attend = {"largest": LARGEST, "max_gazes": 2, "min_probability": 0.0, "seed": 5}
    (run / "config.toml").write_text(to_toml({"format": 2, "category": "disc", "settings": {"attend": attend}}))
    return run


@pytest.fixture(scope="module")
def attention(run):
    return foveate.load(run, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Three PNGs: one small, one larger than what is attended at once, one with alpha."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 44, 3)), ("b.png", (70, 90, 3)), ("c.png", (40, 30, 4))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    return sorted(folder.iterdir())


def as_told(found, picture):
    return [to_json(each, picture.width, picture.height) for each in found]


def test_python_gives_the_figures_of_the_command_line_to_the_last_digit(run, attention, files, capfd):
    assert cli.run(["attend", str(run), *map(str, files), "--out", "-", "--device", "cpu"]) == 0
    told = [json.loads(line)["gazes"] for line in capfd.readouterr().out.splitlines()]
    assert all(told) and "pareto_k" in told[0][0]
    pictures = [as_picture(file) for file in files]
    held = {
        "paths": files,
        "texts": list(map(str, files)),
        "a generator": (str(file) for file in files),
        "PIL images": [Image.open(file) for file in files],
        "arrays": [np.asarray(Image.open(file)) for file in files],
        "tensors": [torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files],
    }
    for name, images in held.items():
        found = attention.attend(images)
        assert [as_told(*each) for each in zip(found, pictures, strict=True)] == told, name
    assert as_told(attention(files[1]), pictures[1]) == told[1]


def test_options_change_what_is_asked_by_name_and_only_for_the_call(attention, files):
    (only,) = attention.attend(files[0], max_gazes=1, posterior={"chains": 0})
    assert only.posterior is None and np.isnan(only.std).all()
    assert attention.attend(files[0])[0].posterior is not None and attention.settings.max_gazes == 2
    with pytest.raises(BadInput, match=r"no setting max_gaze, did you mean attend.max_gazes"):
        attention.attend(files[0], max_gaze=1)
    with pytest.raises(BadInput, match=r"min_probability.*got 2"):
        attention.attend(files[0], min_probability=2.0)
    settings = replace(attention.settings, max_gazes=1, posterior=PosteriorSettings(chains=0))
    assert [each.u.tolist() for each in attention.attend(files[0], settings)] == [only.u.tolist()]


GREY = np.linspace(0, 255, 20 * 30).reshape(20, 30).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
CMYK = Image.fromarray(COLOUR).convert("CMYK")


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (GREY, GREY),
        (GREY[:, :, None], GREY),
        (torch.from_numpy(GREY)[None], GREY),
        (GREY.astype(np.int64), GREY),
        (GREY.astype(np.uint16) * np.uint16(257), GREY),
        (GREY / 255.0, GREY),
        (torch.from_numpy(GREY / 255.0), GREY),
        (Image.fromarray(GREY), GREY),
        (GREY > 100, np.where(GREY > 100, 255, 0)),
        (COLOUR.astype(np.float32) / np.float32(255), COLOUR),
        (torch.from_numpy(COLOUR).permute(2, 0, 1), COLOUR),
        (np.dstack([COLOUR, np.full_like(GREY, 255)]), COLOUR),
        (np.dstack([COLOUR, np.zeros_like(GREY)]), np.full_like(COLOUR, 255)),
        (np.dstack([GREY, np.zeros_like(GREY)]), np.full_like(COLOUR, 255)),
        (np.dstack([COLOUR / 255.0, np.zeros(GREY.shape)]), np.full_like(COLOUR, 255)),
        (CMYK, np.asarray(CMYK.convert("RGB"))),
    ],
)
def test_any_usual_type_of_pixels_is_the_picture_that_it_shows(image, pixels):
    shown = as_picture(image).pixels
    wanted = np.broadcast_to(pixels[:, :, None], shown.shape) if pixels.ndim == 2 else pixels
    eight = shown if shown.dtype == np.uint8 else np.rint(shown / 257.0)
    np.testing.assert_array_equal(eight, wanted)


def test_sixteen_bits_stay_sixteen_and_large_arrays_are_reduced_as_files_are(tmp_path):
    deep = np.random.default_rng(1).integers(0, 65536, (60, 80, 3), dtype=np.uint16)
    assert as_picture(deep).pixels.dtype == np.uint16 and np.array_equal(as_picture(deep).pixels, deep)
    Image.fromarray(deep[:, :, 0]).save(tmp_path / "grey.png")
    small, filed = as_picture(deep, 40), as_picture(tmp_path / "grey.png", 40)
    assert (small.scale, small.width, small.height) == (filed.scale, 80, 60) == (0.5, 80, 60)
    np.testing.assert_array_equal(small.pixels[:, :, 0], filed.pixels[:, :, 0])


def test_a_pil_image_is_seen_upright_as_its_file_is(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOUR).save(tmp_path / "turned.jpg", exif=exif.tobytes(), quality=95)
    with Image.open(tmp_path / "turned.jpg") as image:
        np.testing.assert_array_equal(as_picture(image).pixels, read_image(tmp_path / "turned.jpg"))
        assert as_picture(image).width == 20 and image.size == (30, 20)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (3, r"expected an image: a path, a PIL image.*or several of them; got int"),
        (b"bytes", "got bytes"),
        ([COLOUR, None], "image 1: expected an image.*got NoneType"),
        (COLOUR.astype(np.float32), "go up to 255: expected 0 to 1; divide them by 255"),
        (COLOUR.astype(np.int32) - 1, "from -1 to 254"),
        (COLOUR.transpose(2, 0, 1)[:2], r"not \[2, 20, 30\]; channels are last in an array: .transpose\(1, 2, 0\)"),
        (torch.from_numpy(COLOUR), r"not \[20, 30, 3\]; channels are first in a tensor: .permute\(2, 0, 1\)"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.zeros((0, 5, 3), np.uint8), r"not \[0, 5, 3\]"),
        ("no-such.png", "no-such.png: No such file"),
        (".", "a folder; give the images in it"),
    ],
)
def test_what_is_no_image_is_one_clear_line(attention, image, why):
    with pytest.raises(BadInput, match=why) as raised:
        attention.attend(image)
    assert "\n" not in str(raised.value)


def test_what_is_found_is_at_hand(attention, files):
    (best, *_) = attention.attend(files[1])
    image = Image.open(files[1])
    x0, _, x1, _ = best.box
    assert best.scale == pytest.approx((x1 - x0) / 2) and -180 < best.angle <= 180
    assert best.corners.shape == (4, 2) and best.corners.mean(axis=0) == pytest.approx(best.u[2:])
    assert np.hypot(*(best.corners[1] - best.corners[0])) == pytest.approx(2 * best.scale)
    assert best.crop(image).size == (192, 192) and best.crop(np.asarray(image), size=32, margin=0.5).size == (32, 32)
    plotted = best.plot(image)
    assert isinstance(plotted, Image.Image) and plotted.width / plotted.height == pytest.approx(90 / 70, rel=0.01)
    assert len(repr(best)) < 100 and len(repr(best.posterior)) < 100
    assert best.thumbnail is not None and f"{best.probability:.3f}" in best._repr_html_()
    assert "data:image/jpeg;base64," in best._repr_html_() and "±" in best._repr_html_()


def test_a_gaze_without_picture_or_posterior_is_shown_in_words():
    plain = found([10.0, 0.0, 5.0, 6.0])._repr_html_()
    assert "<img" not in plain and "±" not in plain and "5.0, 6.0 pixels" in plain
    assert "chains &lt;" in found([1.0, 0, 0, 0], posterior=chains([1.0, 0, 0, 0], flags=("chains <b>",)))._repr_html_()


def test_found_go_into_a_data_frame_with_the_columns_of_the_csv(attention, files):
    pandas = pytest.importorskip("pandas")
    found_there = attention.attend(files)
    frame = foveate.to_dataframe(found_there, files)
    each = [(str(file), *ranked) for k, file in enumerate(files) for ranked in enumerate(found_there[k], start=1)]
    assert isinstance(frame, pandas.DataFrame) and len(frame) == len(each) > 3
    assert list(zip(frame["image"], frame["rank"], strict=True)) == [(name, rank) for name, rank, _ in each]
    assert list(frame["probability"]) == [gaze.probability for *_, gaze in each]
    assert list(frame["x0"]) == [gaze.box[0] for *_, gaze in each]
    assert frame["std_x"].dtype == float
    assert list(foveate.to_dataframe(found_there[0])["image"]) == [0] * len(found_there[0])
    assert list(foveate.to_dataframe([]).columns) == list(frame.columns)
    with pytest.raises(BadInput, match="3 images were attended, 1 named"):
        foveate.to_dataframe(found_there, files[:1])


def test_attention_goes_through_pickle_and_is_saved_as_a_run(attention, run, files, tmp_path):
    before = [each.u.tolist() for each in attention.attend(files[0])]
    again = pickle.loads(pickle.dumps(attention))
    assert [each.u.tolist() for each in again.attend(files[0])] == before and again.settings == attention.settings
    saved = foveate.load(attention.save(tmp_path / "saved"), device="cpu")
    assert [each.u.tolist() for each in saved.attend(files[0])] == before
    assert saved.settings == attention.settings and saved.category == "disc"
    with pytest.raises(BadInput, match="exists"):
        attention.save(tmp_path / "saved")
    assert attention.to("cpu") is attention and "'disc', 1728 visible, 6 + 4 hidden units, on cpu" in repr(attention)


def test_a_long_call_shows_how_far_it_is_and_says_nothing_where_none_is_wanted(attention, files, capfd, monkeypatch):
    monkeypatch.setattr("foveate.runtime.progress.PATIENCE", 0.0)
    attention.attend(files)
    assert "attend: 3/3" in capfd.readouterr().err
    attention.attend(files, progress=False)
    attention.attend(files[0])
    assert capfd.readouterr().err == ""

    class Heard(Progress):
        def show(self, tick):
            heard.append((tick.done, tick.total))

    heard = []
    attention.attend((file for file in files), progress=Heard())
    assert heard == [(1, None), (2, None), (3, None)]


def test_in_a_notebook_one_line_is_written_anew(capfd, monkeypatch):
    monkeypatch.setattr("foveate.runtime.progress.PATIENCE", 0.0)
    with NotebookLine().phase("attend", 2) as tick:
        tick(1, note="a long one")
        tick.shown_at -= 1
        tick(2)
    shown = capfd.readouterr().err
    assert shown.count("\r") == 3 and shown.count("\n") == 1 and shown.endswith("\n")
    lines = [line for line in shown.rstrip("\n").split("\r") if line]
    assert lines[0].startswith("attend: 1/2") and lines[1].startswith("attend: 2/2") and len(lines[1]) >= len(lines[0])


def test_the_class_reads_a_run_with_its_settings_too(run):
    assert Attention.load(run).settings == foveate.load(run, device="cpu").settings
    with pytest.raises(BadInput, match="no such RUN folder"):
        foveate.load("no-such-run")
