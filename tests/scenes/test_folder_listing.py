import os

import pytest

from foveate.errors import BadInput
from foveate.scenes.image import BadImage, read_image
from foveate.scenes.listing import mark_output, scan


@pytest.fixture
def crowded(make, saved, tmp_path):
    """A folder as phones, file managers and earlier runs leave it."""
    jpeg, png = make.encode(make.photograph(), "JPEG"), make.encode(make.photograph(seed=1), "PNG")
    files = {
        "a.JPG": jpeg,
        "._a.JPG": b"\0\5\x16\7" + bytes(100),
        ".DS_Store": b"\0\0\0\1Bud1",
        "Thumbs.db": b"\xd0\xcf\x11\xe0",
        "b.heic": make.broken_images()["phone.heic"],
        "d.jpeg": png,
        "no_extension": jpeg,
        "notes.txt": b"P2P, BMW, II*",
        "c.webp": make.encode(make.photograph(), "WEBP"),
        "sub/e.png": png,
        "sub/deeper/e.png": png,
        "text.jpg": b"hello",
        "empty.jpg": b"",
        ".hidden/x.png": png,
        "folder.jpg/inside.png": png,
        "overlays/a.png": png,
        "BM.txt": b"BM" + b"x" * 50,
    }
    for name, data in files.items():
        saved(f"in/{name}", data)
    mark_output(tmp_path / "in/overlays")
    saved("elsewhere/f.png", png)
    (tmp_path / "in/to_folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/to_file").symlink_to(tmp_path / "elsewhere/f.png")
    (tmp_path / "in/sub/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "in/self.jpg").symlink_to("self.jpg")
    os.mkfifo(tmp_path / "in/pipe.jpg")
    return tmp_path / "in"


def test_content_decides_what_is_an_image_and_the_rest_is_counted(crowded):
    found = scan(crowded)
    names = [
        "a.JPG",
        "b.heic",
        "c.webp",
        "d.jpeg",
        "empty.jpg",
        "folder.jpg/inside.png",
        "no_extension",
        "sub/deeper/e.png",
    ]
    names += ["sub/e.png", "text.jpg", "to_file"]
    assert [name for name, _ in found.images] == [f"{crowded}/{name}" for name in names]
    assert found.ignored == 6  # three hidden or foreign files, the pipe, two texts
    assert sorted(os.path.basename(link) for link in found.links) == ["broken.jpg", "self.jpg", "to_folder", "up"]
    assert [os.path.basename(folder) for folder in found.outputs] == ["overlays"]
    assert found.summary() == "11 images, 6 other files ignored, 4 links not followed, 1 output folder left out"


def test_files_that_only_claim_to_be_images_get_an_error_and_the_others_are_read(crowded):
    errors = {}
    for name, path in scan(crowded).images:
        try:
            assert read_image(path).shape == (48, 64, 3)
        except BadImage as error:
            errors[os.path.basename(name)] = str(error)
    assert set(errors) == {"b.heic", "empty.jpg", "text.jpg"}
    assert "empty" in errors["empty.jpg"] and "not an image" in errors["text.jpg"]


def test_names_are_the_argument_as_given_joined_with_the_path_below_it(make, saved, tmp_path, monkeypatch):
    png = make.encode(make.photograph(), "PNG")
    for name in ("in/a/1.png", "in/b/1.png", "in/b/1.jpg", "in/b/1.PNG"):
        saved(name, png)
    monkeypatch.chdir(tmp_path)
    expected = ["in/a/1.png", "in/b/1.PNG", "in/b/1.jpg", "in/b/1.png"]
    assert [name for name, _ in scan("in").images] == expected
    assert [name for name, _ in scan("in/").images] == expected
    assert [name for name, _ in scan("./in").images] == [f"./{name}" for name in expected]
    assert [name for name, _ in scan("in/b", "in/a", "in", "./in/a/1.png").images] == [*expected[1:], expected[0]]
    assert all(os.path.samefile(name, path) for name, path in scan("in").images)


def test_a_single_file_is_taken_as_it_is_and_a_missing_one_is_refused(saved, tmp_path):
    path = saved("notes.txt", b"hello")
    assert scan(path).images == [(str(path), str(path))]
    for wrong in (tmp_path / "missing", "nul\0", "/dev/null"):
        with pytest.raises(BadInput):
            scan(wrong)


def test_output_folder_that_is_asked_for_is_listed(crowded):
    assert [os.path.basename(name) for name, _ in scan(crowded / "overlays").images] == ["a.png"]


def test_folder_that_may_not_be_read_is_counted(make, saved, tmp_path, monkeypatch):
    saved("in/a.png", make.encode(make.photograph(), "PNG"))
    saved("in/closed/b.png", b"")
    real = os.scandir

    def guarded(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = scan(tmp_path / "in")
    assert (len(found.images), len(found.unreadable)) == (1, 1)
