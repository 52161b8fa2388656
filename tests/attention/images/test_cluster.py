"""`attend` over a Ray cluster: the lines of one machine, none lost and none twice."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from untrained import write_untrained

from foveate.attention.images.cluster import attending, over_ray
from foveate.cli import main as cli
from foveate.cli.options import Common
from foveate.cli.recipe import attend_settings
from foveate.errors import BadInput
from foveate.storage.results import Results

QUICK = [
    *("--min-probability", "0", "--max-gazes", "2", "--set", "search.most=8"),
    *("--set", "posterior.warm_up=4", "--set", "posterior.draws=6"),
]
"""A quick search that finds something in every image."""

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A RUN of tiny models, and 24 images, one of them broken."""
    folder = tmp_path_factory.mktemp("cluster")
    write_untrained(folder / "run", 6, 4)
    (folder / "in").mkdir()
    y, x = np.mgrid[:48, :64]
    for number in range(24):
        disc = ((x - 10 - 2 * number) ** 2 + (y - 20) ** 2 < 60)[..., None] * np.array([180, 60, 10 * number])
        Image.fromarray(disc.astype(np.uint8)).save(folder / "in" / f"{number:02d}.png")
    broken = folder / "in" / "07.png"
    broken.write_bytes(broken.read_bytes()[:90])
    assert cli.run(["attend", str(folder / "run"), str(folder / "in"), "--out", str(folder / "alone"), *QUICK]) == 0
    return folder


@pytest.fixture(scope="module")
def settings(place):
    words = [word for word in QUICK if "=" in word]
    return attend_settings(str(place / "run"), words, Common(), "many", 2, 0.0)


def images(place):
    return [(str(path), str(path)) for path in sorted((place / "in").iterdir())]


def batches(rows, size):
    for first in range(0, len(rows), size):
        names, paths = zip(*rows[first : first + size], strict=True)
        yield {"image": np.array(names), "path": np.array(paths, dtype=object)}


@pytest.mark.parametrize("size", [1, 5, 24])
def test_a_batch_of_any_size_gives_the_lines_of_one_machine(place, settings, size):
    function = attending(str(place / "run"), settings)
    lines = [line for batch in batches(images(place), size) for line in function(batch)["line"]]
    first, *others = (place / "alone").read_text().splitlines()
    first = {name: value for name, value in json.loads(first).items() if name != "foveate"}  # what made the file
    assert lines[1:] == others and json.loads(lines[0]) == first


def test_names_that_are_no_text_travel_as_bytes(place, settings):
    seen = []
    function = attending(str(place / "run"), settings, look=seen.append)
    path = str(place / "in" / "03.png").encode()
    out = function({"image": np.array([b"caf\xe9"], dtype=object), "path": np.array([path], dtype=object)})
    assert json.loads(out["line"][0])["image"] == "caf\udce9" and seen[0].pixels.shape == (48, 64, 3)


def test_lines_written_as_they_were_done_are_put_in_order(tmp_path):
    names = [f"{number}.png" for number in range(9)]
    with Results(str(tmp_path / "o")) as results:
        for name in (names[4], "left from before", *names[5:], *names[:4]):
            results.append({"image": name, "error": "x" * len(name)})
        results.arrange(names)
        results.finish()
    lines = [json.loads(line)["image"] for line in (tmp_path / "o").read_text().splitlines()]
    assert lines == [*names, "left from before"]
    before = (tmp_path / "o").stat().st_ino
    with Results(str(tmp_path / "o"), resume=True) as results:
        results.arrange(names)
    assert (tmp_path / "o").stat().st_ino == before, "what is in order was written again"


def test_without_ray_one_line_says_what_to_install(place, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install 'foveate\[distributed\]'"):
        next(over_ray(attending(str(place / "run"), settings), images(place), "local"))


CLUSTER = '''
"""A cluster of two machines on this one. Says its address, loses one when told to, ends with its standard input."""
import sys
from ray.cluster_utils import Cluster

tiny = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=tiny)
second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("lost", flush=True)
cluster.shutdown()
'''


@pytest.fixture
def cluster(tmp_path, environment):
    """(address, a function that kills one of its two machines)."""
    (tmp_path / "cluster.py").write_text(CLUSTER)
    quiet = {**environment, "RAY_USAGE_STATS_ENABLED": "0"}
    child = subprocess.Popen(
        [sys.executable, str(tmp_path / "cluster.py")],
        env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    lines = iter(lambda: child.stdout.readline(), "")
    address = next(line.strip() for line in lines if ":" in line and " " not in line.strip())

    def lose():
        child.stdin.write("lose\n")
        child.stdin.flush()
        return next(line for line in lines if line.startswith("lost"))

    yield address, lose
    child.communicate(timeout=120)  # closes its standard input, at which it ends


@needs_ray
@pytest.mark.parametrize("what", ["driver", "machine"])
def test_a_killed_machine_and_a_killed_driver_lose_and_double_nothing(what, place, tmp_path, cluster, environment):
    address, lose = cluster
    out = tmp_path / "o"
    command = [sys.executable, "-m", "foveate", "attend", str(place / "run"), str(place / "in"), "--out", str(out)]
    command += [*QUICK, "--ray", address, "--resume"]

    def start():
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path)

    child = start()
    while child.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 4):
        time.sleep(0.02)
    if what == "machine":
        lose()
        at_work = child.poll() is None
    else:
        child.send_signal(signal.SIGKILL)
        at_work = child.wait() == -signal.SIGKILL
    _, said = child.communicate(timeout=600)
    assert at_work, f"it had ended before anything was lost: {said}"
    if what == "driver":
        kept = out.read_bytes().count(b"\n")
        again = start()
        _, said = again.communicate(timeout=600)
        assert again.returncode == 0, said
        assert f"{kept} done by an earlier run" in said
    else:
        assert child.returncode == 0, said
    assert out.read_bytes() == (place / "alone").read_bytes()


@needs_ray
def test_no_cluster_is_one_line(place, foveate, tmp_path):
    run = foveate("attend", place / "run", place / "in", "--out", tmp_path / "o", "--ray", "127.0.0.1:1")
    assert run.returncode == 2 and run.stderr.splitlines()[-1].startswith("foveate: no Ray cluster at 127.0.0.1:1: ")
    assert not (tmp_path / "o").read_bytes()


def test_settings_are_what_the_command_line_says(settings):
    assert settings.search.most == 8 and replace(settings, max_gazes=2) == settings
    assert Path(attending("run", settings).keywords["run"]).is_absolute()
