"""Files are whole or not there; JSON is strict; a torn line costs itself and nothing else."""

import io
import json
import math
import os
import stat

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import BadInput
from foveate.storage.files import (
    CannotWrite,
    append_line,
    load_metadata,
    load_tensors,
    read_lines,
    save_tensors,
    scan_lines,
    strict,
    to_json,
    write_atomic,
    write_json,
)


def no_constants(word):
    raise AssertionError(f"{word} in JSON")


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "figures.json"
    write_atomic(path, "old")

    def half(handle):
        handle.write(b"ne")
        raise RuntimeError("died")

    with pytest.raises(RuntimeError):
        write_atomic(path, half)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "x", tmp_path / "x"
    target.write_text("old")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink() and target.read_text() == "new"


def test_written_files_have_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_atomic(tmp_path / "ours", "")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_no_room_and_no_folder_are_one_line_that_names_the_file(tmp_path):
    with pytest.raises(CannotWrite, match="/dev/full: no space left"):
        write_atomic("/dev/full", b"x" * 100_000)
    with pytest.raises(CannotWrite, match="nowhere/x: no such file"):
        write_atomic(tmp_path / "nowhere" / "x", "")


@pytest.mark.parametrize("length", [60, 255])
def test_names_as_long_as_the_system_allows_can_be_written(tmp_path, length):
    write_atomic(tmp_path / ("n" * length), "whole")
    assert (tmp_path / ("n" * length)).read_text() == "whole"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def without_nan(value):
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return {name: without_nan(item) for name, item in value.items()} if isinstance(value, dict) else value


@given(values)
def test_json_is_one_ascii_line_without_nan_and_reads_back(value):
    text = to_json(value)
    assert text.isascii() and len(text.splitlines()) <= 1
    assert json.loads(text, parse_constant=no_constants) == without_nan(value)


def test_arrays_tensors_and_paths_have_a_form_in_json(tmp_path):
    arrays = {"a": np.array([1.0, np.nan]), "t": torch.tensor([[1, 2]])}
    record = {**arrays, "s": np.float32(0.5), "n": np.int64(3), 4: (1, 2)}
    assert strict(record) == {"a": [1.0, None], "t": [[1, 2]], "s": 0.5, "n": 3, "4": [1, 2]}
    write_json(tmp_path / "p.json", {"path": tmp_path})
    assert json.loads((tmp_path / "p.json").read_text()) == {"path": str(tmp_path)}
    with pytest.raises(TypeError, match="object"):
        strict(object())


def test_a_file_cut_at_any_byte_gives_exactly_its_whole_lines(tmp_path):
    records = [{"image": f"é{k}", "u": [k, None]} for k in range(4)]
    path, cut = tmp_path / "lines", tmp_path / "cut"
    with open(path, "ab", buffering=0) as handle:
        for record in records:
            append_line(handle, record)
    content = path.read_bytes()
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        whole = content[:length].count(b"\n")
        assert read_lines(cut) == records[:whole]
        ends = [end for _, end in scan_lines(cut)]
        assert [content[:end] for end in ends[-1:]] == [b"".join(content.splitlines(True)[:whole])][: min(whole, 1)]


def test_a_last_line_of_zeros_is_torn_and_a_broken_line_before_the_last_is_an_error(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n\0\0\0\n')
    assert list(scan_lines(path)) == [({"a": 1}, 9)]
    path.write_bytes(b'{"a": 1}\n{"a":\n{"a": 3}\n')
    with pytest.raises(BadInput, match="line 2"):
        read_lines(path)


def test_a_handle_that_takes_parts_gets_the_whole_line_and_one_that_takes_nothing_is_an_error(tmp_path):
    class Narrow(io.FileIO):
        width = 7

        def write(self, data):
            return super().write(data[: self.width]) if self.width else 0

    path = tmp_path / "lines"
    with Narrow(path, "a") as handle:
        append_line(handle, {"image": "a" * 40})
        assert path.read_bytes() == b'{"image": "' + b"a" * 40 + b'"}\n'
        handle.width = 0
        with pytest.raises(CannotWrite, match="lines: no more data accepted"):
            append_line(handle, {"a": 1})


def test_a_full_disk_under_an_open_file_is_one_line():
    with open("/dev/full", "ab", buffering=0) as handle, pytest.raises(CannotWrite, match="/dev/full: no space"):
        append_line(handle, {"a": 1})


def test_tensors_come_back_as_they_were_and_the_same_content_is_the_same_bytes(tmp_path):
    base = torch.randn(4, 6)
    tensors = {
        "view": base[:, ::2],
        "same": base,
        "state": torch.Generator().manual_seed(3).get_state(),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
    }
    meta = {"b": [1, 2], "a": {"nan": math.nan}, "c": "é"}
    save_tensors(tmp_path / "one", tensors, meta)
    save_tensors(tmp_path / "two", dict(reversed(tensors.items())), dict(reversed(meta.items())))
    loaded = load_tensors(tmp_path / "one")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor) and loaded[name].dtype == tensor.dtype
    assert load_metadata(tmp_path / "one") == {"a": {"nan": None}, "b": [1, 2], "c": "é"}
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_tensors_are_aligned_wherever_they_lie_in_the_file_so_that_products_round_alike(tmp_path):
    W, x = torch.randn(24, 16), torch.randn(16)
    for length in range(0, 40, 3):  # the length of the header decides where tensors begin
        save_tensors(tmp_path / "x", {"a": torch.zeros(5), "b": W, "c": torch.zeros(3), "d": x}, {"step": "1" * length})
        tensors = load_tensors(tmp_path / "x")
        assert [tensor.data_ptr() % 64 for tensor in tensors.values()] == [0] * 4
        assert torch.equal(tensors["b"] @ tensors["d"], W @ x)


def test_a_tensor_file_cut_anywhere_or_filled_with_noise_is_bad_input(tmp_path):
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"x": torch.arange(20.0)}, {"epoch": 1})
    content = path.read_bytes()
    noise = np.random.default_rng(0)
    damaged = [content[:length] for length in range(len(content))] + [noise.bytes(200) for _ in range(200)]
    for bytes_ in damaged:
        path.write_bytes(bytes_)
        for load in (load_tensors, load_metadata):
            with pytest.raises(BadInput, match=r"x\.safetensors"):
                load(path)


def test_pipes_folders_and_missing_files_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, text in (("pipe", "not a file"), (".", "not a file"), ("gone", "no such file")):
        with pytest.raises(BadInput, match=text):
            load_tensors(tmp_path / name)
