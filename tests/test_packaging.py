"""What is installed: the wheel and the source archive, their metadata, and the program without its extras.

Both archives are built by the build backend itself, which asks nothing of a network. Where it isn't installed
(`make install` brings it, as part of the extra `dev`) the tests of the archives are skipped; those of the sources run.
"""

import email
import importlib.util
import re
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

import foveate

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
needs_backend = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="the build backend, hatchling, isn't installed"
)


def build(source, target, *kinds):
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target), *kinds]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """(wheel, source archive), both built from the sources at hand."""
    target = tmp_path_factory.mktemp("dist")
    build(ROOT, target, "-t", "wheel", "-t", "sdist")
    (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory):
    """A folder into which the wheel is installed, beside an skimage that can't be imported, as if it were missing."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", folder, archives[0]]
    subprocess.run(list(map(str, command)), check=True, timeout=120)
    (folder / "skimage.py").write_text("raise ModuleNotFoundError(\"No module named 'skimage'\", name='skimage')\n")
    return folder


def sources():
    """What a package of the sources must hold, by its path below src."""
    files = (path for path in (ROOT / "src" / "foveate").rglob("*") if path.is_file())
    kept = (path for path in files if "__pycache__" not in path.parts and path.suffix not in (".nbi", ".nbc"))
    return {path.relative_to(ROOT / "src").as_posix() for path in kept}


@needs_backend
def test_the_wheel_holds_the_package_whole_and_nothing_else(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        names = set(wheel.namelist())
        metadata = email.message_from_bytes(wheel.read(f"foveate-{foveate.__version__}.dist-info/METADATA"))
        scripts = wheel.read(f"foveate-{foveate.__version__}.dist-info/entry_points.txt").decode()
    assert {name for name in names if ".dist-info/" not in name} == sources()
    assert {"foveate/py.typed", "foveate/report/template/page.html"} < names
    assert f"foveate-{foveate.__version__}.dist-info/licenses/LICENSE" in names
    assert "foveate = foveate.cli.main:main" in scripts
    assert metadata["License-Expression"] == "BSD-3-Clause" and metadata["Author"] == "the foveate authors"
    assert metadata["Version"] == foveate.__version__ and metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_all("Project-URL") is None and metadata["Home-page"] is None, "no address is invented"
    assert set(metadata.get_all("Provides-Extra")) == PROJECT["optional-dependencies"].keys()


@needs_backend
def test_the_description_in_the_metadata_is_the_readme(archives):
    with zipfile.ZipFile(archives[0]) as wheel:
        metadata = email.message_from_bytes(wheel.read(f"foveate-{foveate.__version__}.dist-info/METADATA"))
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload(decode=True).decode()
    assert text.strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()
    assert not re.search(r"<(script|iframe|style)", text), "an index strips these"


@needs_backend
def test_the_source_archive_builds_the_same_wheel_and_holds_what_its_tests_need(archives, tmp_path):
    wheel, sdist = archives
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    for name in (
        "LICENSE", "CITATION.cff", "CHANGELOG.md", "README.md", "Makefile", "constraints.txt", "mkdocs.yml",
        "tests/conftest.py", "tests/support/tiny.py", "benchmarks/untrained.py", "docs/index.md",
    ):  # fmt: skip
        assert (root / name).is_file(), name
    assert not [path for path in root.rglob("*") if path.suffix in (".pyc", ".nbi", ".safetensors", ".whl")]
    build(root, tmp_path / "again", "-t", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        held, held_again = ({(part.filename, part.CRC) for part in archive.infolist()} for archive in (one, other))
    assert held == held_again


@needs_backend
def test_the_installed_wheel_runs_without_extras_and_says_at_once_what_the_demo_needs(installed, environment, tmp_path):
    there = {**environment, "PYTHONPATH": str(installed)}

    def run(*words):
        command = [sys.executable, "-m", "foveate", *words]
        return subprocess.run(command, env=there, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert run("--version").stdout == f"foveate {foveate.__version__}\n"
    where = "import foveate; print(foveate.__file__)"
    found = subprocess.run([sys.executable, "-c", where], env=there, cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.startswith(str(installed))
    assert run("train", "--help").returncode == 0
    started = time.monotonic()
    demo = run("demo", "--out", "demo")
    spent = time.monotonic() - started
    assert demo.returncode == 2 and demo.stderr.count("\n") == 1 and "foveate[demo]" in demo.stderr
    assert not list(tmp_path.iterdir()), "a demo that can't run leaves nothing"
    # Two seconds, or several times what the same machine takes to start the program at all.
    started = time.monotonic()
    run("--version")
    assert spent < max(2.0, 8 * (time.monotonic() - started))


def test_the_citation_and_the_changelog_are_of_this_version_and_the_paper_is_cited():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == foveate.__version__ and cited["license"] == PROJECT["license"]
    paper = cited["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == ["Tang", "Srivastava", "Salakhutdinov"]
    assert (paper["title"], paper["year"]) == ("Learning Generative Models with Visual Attention", 2014)
    assert foveate.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_extra_that_a_message_or_a_page_names_is_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    named = {
        extra
        for page in pages
        for names in re.findall(r"(?:foveate|\.)\[([a-z,]+)\]", page.read_text(encoding="utf-8"))
        for extra in names.split(",")
    }
    assert {"demo", "tables"} < named <= PROJECT["optional-dependencies"].keys()
