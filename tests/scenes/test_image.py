import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from foveate.errors import BadInput
from foveate.scenes.image import LIMIT, BadImage, open_picture, read_header, read_image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_every_orientation_is_upright_in_pixels_and_header(make, saved, kind, orientation):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    data = make.encode(make.photograph(), kind, exif=make.exif_of(orientation), **options)
    path = saved("a.img", data)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found = read_image(path)
    np.testing.assert_array_equal(found, expected)
    header = read_header(path)
    assert (header.height, header.width) == found.shape[:2]
    assert (expected.shape[0] > expected.shape[1]) == (orientation >= 5)


def test_png_whose_exif_stands_behind_its_pixels_is_upright(make, saved):
    data = make.encode(make.photograph(), "PNG")
    end = data.index(b"IEND") - 4
    late = make.png_chunk(b"eXIf", make.exif_of(6).removeprefix(b"Exif\0\0"))
    path = saved("late.png", data[:end] + late + data[end:])
    assert read_image(path).shape == (64, 48, 3)
    assert (read_header(path).width, read_header(path).height) == (48, 64)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + bytes.fromhex("0008000201120003"),
        b"Exif\0\0Exif\0\0" + bytes.fromhex("0008000201120003"),
        b"Exif\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40,
        b"Exif\0\0MM\0*\0\0\0\x08" + bytes.fromhex("000101120003000000010009000000000000"),
        b"Exif\0\0MM\0*\0\0\0\x08" + bytes.fromhex("000101120003000000010000000000000000"),
        b"Exif\0\0MM\0*\0\0\0\x08" + bytes.fromhex("000101120002000000026100000000000000"),
    ],
    ids=["cut", "doubled", "nothing", "looping", "nine", "zero", "text"],
)
def test_broken_or_unknown_exif_means_orientation_one(make, saved, exif):
    plain = make.encode(make.photograph(), "JPEG")
    path = saved("a.jpg", make.with_exif(plain, exif))
    np.testing.assert_array_equal(read_image(path), read_image(saved("plain.jpg", plain)))
    assert read_header(path).orientation == 1


def test_doubled_exif_prefix_is_still_understood(make, saved):
    exif = b"Exif\0\0" + make.exif_of(6)
    path = saved("a.jpg", make.with_exif(make.encode(make.photograph(), "JPEG"), exif))
    assert read_header(path).orientation in (1, 6)
    assert read_image(path).shape[:2] == (read_header(path).height, read_header(path).width)


def test_first_of_several_pictures_is_read_whatever_the_name(make, saved):
    first, second = (Image.fromarray(make.photograph(seed=seed)) for seed in (1, 2))
    mpo = make.encode(first, "MPO", save_all=True, append_images=[second])
    single = make.encode(first, "JPEG")
    np.testing.assert_array_equal(read_image(saved("a.jpg", mpo)), read_image(saved("b.jpg", single)))
    first, second = first.copy(), second.copy()
    tiff = make.encode(first, "TIFF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(saved("tiff.png", tiff)), np.asarray(first))
    gif = make.encode(first.quantize(256), "GIF", save_all=True, append_images=[second.quantize(256)])
    np.testing.assert_array_equal(read_image(saved("c", gif)), np.asarray(first.quantize(256).convert("RGB")))


def test_every_name_in_the_broken_corpus_is_one_line_that_names_the_file(make, saved, capfd):
    for name, data in make.broken_images().items():
        path = saved(name, data)
        with pytest.raises(BadImage) as caught:
            read_image(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value), name
        with pytest.raises(BadImage):
            read_image(path, max_side=16)
    assert capfd.readouterr().out == ""


def test_what_is_no_regular_file_is_refused_without_waiting(saved, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    for name in ("pipe.jpg", "folder.jpg", "loop.jpg", "missing.jpg", "nul\0.jpg", "x" * 300 + ".jpg"):
        with pytest.raises(BadImage):
            read_image(f"{tmp_path}/{name}")


def test_heic_without_its_plugin_names_the_remedy(make, saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadImage, match="pip install pillow-heif"):
        read_image(saved("a.heic", make.broken_images()["phone.heic"]))


def test_bomb_is_refused_by_its_header_alone(make, saved):
    path = saved("bomb.png", make.broken_images()["bomb.png"])
    for reader in (read_image, read_header):
        with pytest.raises(BadImage, match="14000 x 14000 pixels are more than the limit of 134 million"):
            reader(path)


def test_the_limit_of_pixels_can_be_set(make, saved, monkeypatch):
    path = saved("a.png", make.encode(make.photograph(), "PNG"))
    monkeypatch.setenv(LIMIT, str(48 * 64))
    assert read_image(path).shape == (48, 64, 3)
    monkeypatch.setenv(LIMIT, str(48 * 64 - 1))
    with pytest.raises(BadImage, match=f"48 pixels are more than .*{LIMIT}"):
        read_header(path)
    monkeypatch.setenv(LIMIT, "many")
    with pytest.raises(BadInput, match=f"{LIMIT}=many"):
        read_header(path)


def test_a_jpeg_beyond_the_limit_is_read_reduced_and_only_so(make, saved, monkeypatch):
    picture = make.photograph(512, 768)
    monkeypatch.setenv(LIMIT, str(256 * 384))
    path = saved("a.jpg", make.encode(picture, "JPEG", quality=95))
    assert read_header(path).width == 768
    reduced = open_picture(path, 100)
    assert (reduced.width, reduced.height, reduced.pixels.shape) == (768, 512, (66, 100, 3))
    for max_side in (None, 400):  # which is decoded in full
        with pytest.raises(BadImage, match="768 x 512 pixels are more"):
            open_picture(path, max_side)
    for kind, options in (("JPEG", {"progressive": True}), ("PNG", {})):
        with pytest.raises(BadImage, match="768 x 512 pixels are more"):
            open_picture(saved("b", make.encode(picture, kind, **options)), 100)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0", "a PostScript document"),
        (b"8BPS\0\1", "a Photoshop document"),
        (bytes(128) + b"DICM\2\0", "a DICOM file"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video"),
        (b"RIFF\0\0\1\0AVI LIST", "a video"),
        (b"\x1aE\xdf\xa3\x9f", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a raw camera file"),
        (b"II*\0\x10\0\0\0CR\2\0", "a raw camera file"),
        (b"FUJIFILMCCD-RAW 0201", "a raw camera file"),
    ],
)
def test_what_is_often_taken_for_a_picture_is_called_by_its_name(saved, head, name):
    path = saved("a.jpg", head + bytes(200))
    with pytest.raises(BadImage, match=f"a.jpg: {name}: ") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_raw_camera_file_is_never_its_thumbnail(make, saved):
    thumbnail = bytes(range(96))
    for extra in ([(50706, 1)], [(254, 1), (330, 8)], [(262, 32803)], [(262, 34892)]):
        path = saved("a.dng", make.tiff(12, 8, 8, thumbnail, extra=extra))
        for reader in (read_image, read_header):
            with pytest.raises(BadImage, match="a raw camera file: develop it first"):
                reader(path)


def test_pages_of_a_tiff_are_counted_and_read_one_by_one(make, saved):
    pages = [make.photograph(40 + 8 * k, 64, k) for k in range(3)]
    first, *rest = map(Image.fromarray, pages)
    path = saved("a.tif", make.encode(first, "TIFF", save_all=True, append_images=rest))
    for k, page in enumerate(pages):
        picture, header = open_picture(path, page=k), read_header(path, page=k)
        np.testing.assert_array_equal(picture.pixels, page)
        assert (picture.pages, header.pages, header.height) == (3, 3, 40 + 8 * k)
    for page in (3, -1):
        with pytest.raises(BadImage, match=f"no page {page + 1}, it has 3"):
            open_picture(path, page=page)
    assert open_picture(saved("b.png", make.encode(pages[0], "PNG"))).pages == 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_of_a_moving_picture_are_pages(make, saved, kind):
    frames = [Image.fromarray(np.full((20, 30, 3), shade, np.uint8)) for shade in (10, 120, 240)]
    options = {"lossless": True} if kind == "WEBP" else {}
    path = saved("a", make.encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    for number, shade in enumerate((10, 120, 240)):
        picture = open_picture(path, page=number)
        assert (picture.pages, read_header(path, number).pages) == (3, 3) and (picture.pixels == shade).all()
    with pytest.raises(BadImage, match="no page 4, it has 3"):
        open_picture(path, page=3)


def test_reduced_copies_in_a_tiff_are_no_pages_wherever_they_stand(make, saved):
    small, large = (Image.fromarray(make.photograph(height, 2 * height)) for height in (8, 40))
    for first, second in ((small, large), (large, small)):
        data = bytearray(make.encode(first, "TIFF", save_all=True, append_images=[second], tiffinfo={254: 0}))
        entries = [at for at in range(len(data)) if data.startswith(struct.pack("<HHI", 254, 4, 1), at)]
        assert len(entries) == 2
        data[entries[0 if first is small else 1] + 8] = 1  # NewSubfileType: a reduced copy of another picture
        picture = open_picture(saved("a.tif", bytes(data)))
        assert picture.pages == 1
        np.testing.assert_array_equal(picture.pixels, np.asarray(large))


def test_reading_leaves_every_process_wide_switch_and_filter_alone(make, saved):
    paths = [saved(name, data) for name, data in make.broken_images().items()]
    exif = b"Exif\0\0" + bytes.fromhex("0008000201120003")
    paths.append(saved("odd.jpg", make.with_exif(make.encode(make.photograph(), "JPEG"), exif)))

    def attempt(path):
        try:
            return read_image(path).shape
        except BadImage:
            return None

    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, paths * 5))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
    assert results == [attempt(path) for path in paths] * 5


def disc(height, width, x, y, radius):
    """A white disc on black, its edge of one grey pixel."""
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    inside = np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1)
    return np.repeat(np.rint(inside * 255).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("height", "width", "max_side"), [(1003, 757, 100), (600, 1601, 101), (517, 523, 517)])
def test_reduced_picture_keeps_places_times_scale(make, saved, kind, height, width, max_side):
    x, y = width * 0.71, height * 0.83
    path = saved("a", make.encode(disc(height, width, x, y, 60), kind))
    picture = open_picture(path, max_side)
    assert (picture.width, picture.height) == (width, height)
    assert picture.scale == max_side / max(height, width)
    assert max(picture.pixels.shape[:2]) == max_side
    weight = picture.pixels[:, :, 0].astype(float)
    rows, columns = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]] + 0.5
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum() / picture.scale
    np.testing.assert_allclose(centre, (x, y), atol=0.35)


def test_reduction_is_the_mean_over_the_area_and_never_enlarges(make, saved):
    picture = make.photograph(400, 600)
    path = saved("a.png", make.encode(picture, "PNG"))
    means = picture.reshape(100, 4, 150, 4, 3).mean((1, 3))
    assert np.abs(read_image(path, 150) - means).max() <= 2
    assert open_picture(path, 600).scale == open_picture(path, 5000).scale == 1
    assert read_image(path, 1).shape == (1, 1, 3)
    with pytest.raises(BadInput):
        read_image(path, 0)


def test_turned_picture_is_reduced_by_its_upright_size(make, saved):
    path = saved("a.jpg", make.encode(make.photograph(300, 900), "JPEG", exif=make.exif_of(6)))
    picture = open_picture(path, 90)
    assert (picture.width, picture.height, picture.scale) == (300, 900, 0.1)
    assert picture.pixels.shape == (90, 30, 3)


READ_AND_WEIGH = """
import sys
from peak import peak_memory
from foveate.scenes.image import open_picture, read_image
read_image(sys.argv[2], 64)
before = peak_memory()
picture = open_picture(sys.argv[1], 1024)
print((peak_memory() - before) // 1024, picture.width * picture.height, picture.pixels.shape)
"""


def test_two_hundred_megapixels_take_the_memory_of_what_is_asked_for(make, saved, environment):
    path = saved("large.jpg", make.encode(Image.new("L", (16320, 12240), 90), "JPEG", quality=50))
    small = saved("small.jpg", make.encode(make.photograph(), "JPEG"))
    command = [sys.executable, "-c", READ_AND_WEIGH, str(path), str(small)]
    environment = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    kilobytes, pixels, shape = done.stdout.split(maxsplit=2)
    assert int(pixels) == 16320 * 12240 and shape.strip() == "(768, 1024, 3)"
    assert int(kilobytes) < 60_000
