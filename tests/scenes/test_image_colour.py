import struct

import numpy as np
import pytest
from PIL import Image

from foveate.errors import BadInput
from foveate.scenes.image import BadImage, read_image
from foveate.scenes.pixels import as_uint16, content_key


def grey(picture):
    return np.asarray(Image.fromarray(picture).convert("L"))


def repeated(values):
    return np.repeat(values[:, :, None], 3, axis=2)


@pytest.fixture
def twins(make):
    """One grey scene, 8 bits, and itself in other ranges: (name, bytes) that all must look the same."""
    eight = grey(make.photograph())
    sixteen = eight.astype(np.uint16) * 257
    height, width = eight.shape
    twelve = np.rint(eight / 255 * 4095).astype(np.uint16)
    packed = twelve.reshape(-1, 2)
    packed = np.stack((packed[:, 0] >> 4, (packed[:, 0] & 15) << 4 | packed[:, 1] >> 8, packed[:, 1] & 255), 1)
    big, little = sixteen.astype(">u2").tobytes(), sixteen.astype("<u2").tobytes()
    inverted = (65535 - sixteen).astype("<u2").tobytes()
    return eight, {
        "16-bit PNG": make.png(width, height, 16, 0, big),
        "16-bit little-endian TIFF": make.tiff(width, height, 16, little),
        "16-bit big-endian TIFF": make.tiff(width, height, 16, big, ">"),
        "16-bit TIFF, 0 is white": make.tiff(width, height, 16, inverted, photometric=0),
        "12-bit TIFF": make.tiff(width, height, 12, packed.astype(np.uint8).tobytes()),
        "12 bits of 16, declared": make.tiff(width, height, 16, twelve.astype("<u2").tobytes(), extra=[(281, 4095)]),
        "16-bit PGM": b"P5 %d %d 65535\n" % (width, height) + big,
        "12-bit PGM": b"P5 %d %d 4095\n" % (width, height) + twelve.astype(">u2").tobytes(),
        "float TIFF": make.encode(Image.fromarray(eight.astype(np.float32) / 255), "TIFF"),
        "16-bit RGB PNG": make.png(width, height, 16, 2, repeated(sixteen).astype(">u2").tobytes()),
        "8-bit PNG": make.encode(eight, "PNG"),
    }


def test_every_range_of_grey_gives_the_same_picture(twins, saved):
    eight, files = twins
    for name, data in files.items():
        found = read_image(saved("a", data))
        unit = found / np.iinfo(found.dtype).max
        assert found.dtype == (np.uint16 if "12" in name or "float" in name else np.uint8), name
        assert np.abs(unit - repeated(eight / 255)).max() < 2e-4, name
        small = read_image(saved("a", data), 16)
        reference = read_image(saved("b", files["8-bit PNG"]), 16)
        assert small.shape == reference.shape == (12, 16, 3)
        assert np.abs(small / np.iinfo(small.dtype).max - reference / 255).max() < 0.004, name


@pytest.mark.parametrize("max_side", [None, 16])
def test_eight_bits_of_grey_and_their_sixteen_bit_twins_are_one_picture_to_the_last_bit(twins, saved, max_side):
    _, files = twins
    eight = read_image(saved("a", files["8-bit PNG"]), max_side)
    twin_names = [name for name in files if name.startswith("16-bit") and "RGB" not in name]
    assert len(twin_names) == 5
    for name in twin_names:
        np.testing.assert_array_equal(read_image(saved("a", files[name]), max_side), eight, err_msg=name)


def test_the_key_of_a_picture_is_that_of_its_values_however_they_are_stored(make):
    eight = make.photograph()
    sixteen = eight.astype(np.uint16) * 257
    keys = {content_key(same) for same in (eight, sixteen, eight / 255, (eight / 255).astype(np.float32))}
    assert len(keys) == 1
    other = sixteen.copy()
    other[0, 0, 0] ^= 1
    different = (255 - eight, eight[:, ::-1], eight.reshape(64, 48, 3), other)
    assert len(keys | {content_key(image) for image in different}) == 5


def test_range_is_the_format_s_and_not_the_picture_s_own_maximum(make, saved):
    dark = np.full((4, 4), 1000, dtype=">u2")
    assert (read_image(saved("a", make.png(4, 4, 16, 0, dark.tobytes()))) == 1000).all()
    written_by_luck = make.tiff(4, 4, 16, dark.astype("<u2").tobytes(), extra=[(281, 1000)])
    assert (read_image(saved("a", written_by_luck)) == 1000).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0.0, 255.0]], dtype=np.float32), "floating-point pixels from 0 to 255"),
        (np.array([[0.5, np.nan]], dtype=np.float32), "floating-point"),
        (np.array([[0.5, np.inf]], dtype=np.float32), "floating-point"),
        (np.array([[1, 70000]], dtype=np.int32), "32 bits"),
    ],
)
def test_numbers_without_a_known_range_are_refused(make, saved, values, reason):
    with pytest.raises(BadImage, match=reason):
        read_image(saved("a.tif", make.encode(Image.fromarray(values), "TIFF")))


@pytest.mark.parametrize("largest", [255.0, 1.01, np.nan])
def test_an_array_of_floats_beyond_zero_to_one_is_refused_with_the_range_that_is_expected(largest):
    image = np.zeros((4, 4, 3))
    image[0, 0, 0] = largest
    with pytest.raises(BadInput, match=r"expected 0 \(black\) to 1 \(white\)|NaN"):
        as_uint16(image)
    image[0, 0, 0] = 1.0005  # resampled pictures overshoot a little
    assert as_uint16(image)[0, 0, 0] == 65535


def test_signed_numbers_are_refused(make, saved):
    data = make.tiff(2, 1, 16, struct.pack("<hh", -5, 5), extra=[(339, 2)])
    with pytest.raises(BadImage, match="signed"):
        read_image(saved("a.tif", data))


def test_black_and_white_palette_and_grey_become_colour(make, saved):
    picture = Image.fromarray(make.photograph())
    for mode in ("1", "L", "P", "YCbCr"):
        converted = picture.quantize(200) if mode == "P" else picture.convert(mode)
        kind = "TIFF" if mode == "YCbCr" else "PNG"
        found = read_image(saved("a", make.encode(converted, kind)))
        np.testing.assert_array_equal(found, np.asarray(converted.convert("RGB")), err_msg=mode)
    assert set(np.unique(read_image(saved("a", make.encode(picture.convert("1"), "PNG"))))) == {0, 255}


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(make, saved, kind):
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = read_image(saved("a", make.encode(ink, kind)))
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= 2


def test_lab_is_understood(make, saved):
    data = make.encode(Image.new("LAB", (4, 4), (255, 128, 128)), "TIFF")
    assert read_image(saved("a.tif", data)).min() >= 250


def test_transparency_is_laid_on_white_and_opaque_alpha_changes_nothing(make, saved):
    colour = make.photograph()
    alpha = np.full((*colour.shape[:2], 1), 255, dtype=np.uint8)
    opaque = np.concatenate((colour, alpha), axis=2)
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        np.testing.assert_array_equal(read_image(saved("a", make.encode(opaque, kind, **options))), colour)
    half = opaque.copy()
    half[:, :20, 3] = 0
    half[:, 20:40, 3] = 51
    found = read_image(saved("a", make.encode(half, "PNG"))).astype(float)
    assert (found[:, :20] == 255).all()
    assert np.abs(found[:, 20:40] - (0.2 * colour[:, 20:40] + 0.8 * 255)).max() <= 1
    np.testing.assert_array_equal(found[:, 40:], colour[:, 40:])


def test_transparent_colours_and_palette_entries_are_white(make, saved):
    picture = Image.new("RGB", (4, 1), (10, 20, 30))
    picture.putpixel((0, 0), (200, 0, 0))
    found = read_image(saved("a.png", make.encode(picture, "PNG", transparency=(200, 0, 0))))
    assert found[0].tolist() == [[255] * 3] + [[10, 20, 30]] * 3
    palette = picture.quantize(2)
    clear = palette.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        found = read_image(saved("a", make.encode(palette.copy(), kind, transparency=clear)))
        assert found[0].tolist() == [[255] * 3] + [[10, 20, 30]] * 3
    two = Image.new("LA", (2, 1), (7, 0))
    two.putpixel((1, 0), (7, 255))
    assert read_image(saved("a", make.encode(two, "PNG")))[0].tolist() == [[255] * 3, [7] * 3]
