"""The guide and the README say what is so: their code runs, their commands parse, their links lead somewhere."""

import ast
import contextlib
import functools
import importlib.util
import io
import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from untrained import write_untrained

from foveate.cli import main as cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
OPTIONAL = ("arviz", "fiftyone", "pycocotools")
"""What a reader may have beside foveate; blocks that import it are run where it is installed."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[((?:`[^`]*`|[^\]`])*)\]\(([^)\s]+)\)")


def blocks(page, *languages):
    """(line, code) of every fenced block of a page in one of the languages."""
    text = page.read_text(encoding="utf-8")
    found = (match for match in FENCE.finditer(text) if match[1] in languages)
    return [(text.count("\n", 0, match.start()) + 1, match[2]) for match in found]


def needs(code):
    """The optional module that a block imports, or None."""
    return next((name for name in OPTIONAL if re.search(rf"^\s*(import|from) {name}\b", code, re.MULTILINE)), None)


def prose(page):
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def page_id(page):
    return page.relative_to(ROOT).as_posix()


def execute(page, line, code, names):
    """Run a block so that a failure names its own line of the page."""
    source = "\n" * line + code
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(source, str(page), "exec"), names)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the blocks find where they run: a whole (if untrained) RUN, a folder of photographs, lines of results."""
    folder = tmp_path_factory.mktemp("reader")
    write_untrained(folder / "RUN", 6, 4)
    (folder / "photographs").mkdir()
    y, x = np.mgrid[:24, :32]
    disc = ((x - 20) ** 2 + (y - 10) ** 2 < 25)[..., None] * np.array([180, 60, 40], np.uint8)
    for name in ("one.jpg", "two.jpg"):
        Image.fromarray(disc.astype(np.uint8)).save(folder / "photographs" / name)
    (folder / "found.jsonl").write_text(blocks(ROOT / "docs" / "formats.md", "json")[0][1].replace("\n", " ") + "\n")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_id)
def test_every_python_block_of_a_page_runs(page, made, monkeypatch):
    monkeypatch.chdir(made)
    torch.manual_seed(0)
    names = {"__name__": "__page__"}
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    for line, code in blocks(page, "python"):
        if needs(code) is None:
            execute(page, line, code, names)
    after = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert after == before, "a block of the guide writes where a reader's own files may be"


OPTIONAL_BLOCKS = [(page, *block) for page in PAGES for block in blocks(page, "python") if needs(block[1])]


@pytest.mark.parametrize(
    ("page", "line", "code"), OPTIONAL_BLOCKS, ids=lambda value: None if isinstance(value, str) else str(value)[-20:]
)
def test_blocks_with_another_program_are_python_and_run_where_it_is_installed(page, line, code, made, monkeypatch):
    ast.parse(code)
    module = needs(code)
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    monkeypatch.chdir(made)
    execute(page, line, code, {"__name__": "__page__"})


def commands(page):
    """The words of every `foveate ...` in a block of shell, or between backticks that say more than its name."""
    lines = [line for _, code in blocks(page, "sh") for line in code.replace("\\\n", " ").splitlines()]
    spans = [" ".join(span.split()).replace("\\|", "|") for span in re.findall(r"`(foveate [^`]+)`", prose(page))]
    lines += [span for span in spans if span.removeprefix("foveate ") not in cli.COMMANDS]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and words[0].endswith("foveate"):
            yield words[1 : next((k for k, word in enumerate(words) if word in ("|", ">", "&")), len(words))]


@pytest.fixture
def heard(monkeypatch):
    """The command line with commands that hear their arguments and do nothing."""
    calls, real = [], cli.function

    def deaf(name):
        command = real(name)

        @functools.wraps(command)
        def listen(*words, **options):
            calls.append((name, options))

        return listen

    monkeypatch.setattr(cli, "function", deaf)
    return calls


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_line_of_a_page_parses(page, heard, capsys):
    for words in commands(page):
        heard.clear()
        status = cli.run(words)
        assert status == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
        assert heard or words[-1] in ("--help", "--version")
        for name, options in heard:
            check_settings(name, options.get("set_"))


def check_settings(command, overrides):
    """What `--set` names are settings of the command, and the values of their type."""
    from foveate.attention.settings import AttendSettings
    from foveate.learning.settings import PRESETS as LEARNING
    from foveate.storage.config import listed, override, parse_overrides
    from foveate.training.settings import PRESETS as TRAINING

    presets = {"train": TRAINING, "learn": LEARNING}
    settings, under = (presets[command]["standard"], "") if command in presets else (AttendSettings(), "attend.")
    named = parse_overrides(overrides or [])
    override(settings, named, "--set", under)
    assert named.keys() <= listed(settings, under).keys()


def definitions(path):
    """Names that a module defines: functions, classes, their methods and fields, and constants."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for name in names_of(node):
            found.add(name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for part in node.body for name in names_of(part)}
    return found


def names_of(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def headings(page):
    """The anchors that a page has, as Markdown programs make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_file_and_names_what_is_defined_there(page):
    for _, text, target in LINK.findall(prose(page)):
        assert "://" not in target, f"{target}: the guide needs no network"
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        assert path.exists(), target
        assert ROOT in path.parents, target
        if anchor:
            assert anchor in headings(path), target
        if path.suffix == ".py" and text.startswith("`") and not text.strip("`").endswith((".py", "/")):
            assert text.strip("`") in definitions(path), f"{text} is not defined in {target}"


def test_the_table_of_figures_names_every_figure():
    from foveate.boltzmann.dbn import GaussianDBN
    from foveate.evaluation.bound import evaluate_bound
    from foveate.evaluation.detections import Detections
    from foveate.evaluation.localization import measure

    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    model, v = GaussianDBN(6, 4, 3), torch.zeros(3, 6)
    bound = evaluate_bound(model, v, chains=2, temperatures=3, samples=2, importance_samples=2, grbm=True)
    localization = measure([Detections.of("empty", [], np.zeros((0, 4)))])
    missing = [name for name in {**bound, **localization} if f"`{name}`" not in text]
    assert not missing


def test_the_example_of_a_line_has_the_fields_that_attend_writes():
    import json
    from dataclasses import replace

    from founds import chains, found

    from foveate.attention.output import to_json

    (gaze,) = json.loads(blocks(ROOT / "docs" / "formats.md", "json")[0][1])["gazes"]
    weighed = replace(chains([5.0, 0.0, 40.0, 20.0]), pareto_k=0.2)
    written = to_json(replace(found([5.0, 0.0, 40.0, 20.0], posterior=weighed), log_ratio=3.5), 64, 48)
    assert gaze.keys() == written.keys()
    assert {name: type(value) for name, value in gaze.items()} == {name: type(value) for name, value in written.items()}


class Requests(HTMLParser):
    """What a browser would fetch by itself to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        fetched = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}.get(tag)
        self.found += [value for name, value in attrs if name == fetched and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The guide, built as `make docs` builds it."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    folder = tmp_path_factory.mktemp("guide") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_the_guide_builds_without_a_warning_and_asks_nothing_of_a_network(site):
    pages = sorted(site.glob("**/*.html"))
    assert {page.stem for page in pages} >= {page.stem for page in PAGES[1:]}
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text(encoding="utf-8"))
        assert not [url for url in requests.found if re.match(r"(https?:)?//", url)], page.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.glob("**/*.css"))
    assert not re.search(r"url\(['\"]?(https?:)?//|@import", styles)


def test_the_guide_has_search_dark_mode_coloured_code_and_typeset_formulas(site):
    text = (site / "mathematics.html").read_text(encoding="utf-8")
    assert text.count("<math ") >= 30 and "$$" not in re.sub(r"<[^>]*>", "", text)
    assert 'class="k"' in text or 'class="kn"' in text, "keywords have their colour"
    assert 'data-md-color-scheme="slate"' in text and "md-search" in text
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert "Bracketing log Z" in index and "Robustness" in index
    for notebook in NOTEBOOKS:
        page = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert "data:image/" in page and f'href="{notebook.name}"' in page


def test_the_python_reference_has_every_public_name_and_every_parameter_of_it(site):
    import inspect

    import foveate

    source = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: (foveate\.\w+)$", source, re.MULTILINE)
    assert sorted(named) == sorted(f"foveate.{name}" for name in dir(foveate) if name != "__version__")
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("load", "train", "learn", "plot", "to_dataframe"):
        text = page[page.index(f'id="foveate.{name}"') :]
        text = text[: text.find("</article>")] if "</article>" in text else text
        for parameter in inspect.signature(getattr(foveate, name)).parameters:
            assert re.search(rf"<b>[^<]*<code>[^<]*\b{parameter}\b|<code>[^<]*\b{parameter}\b", text), (
                f"{name}: {parameter}"
            )
    for method in ("Attention.attend", "Attention.save", "Found.box", "Found.crop", "GaussianDBN.sample"):
        assert f'id="foveate.{method}"' in page, method
    assert "Attention.load_" not in page and "foveate.Found._" not in page


NOT_THE_FIELDS_WORDS = (
    r"a line of JSON an image|a JSON line an image|a line an image", r"nats a (patch|face|vector|digit)",
    r"(false positives|milliseconds|ms|seconds|gazes) an? (photograph|image|picture)", r"best gaze right",
    r"told by\W+--help|tells the rest", r"trained on what", r"gone of the way", r"tell(s)? no (gaze|box|angle)",
    r"asked of the network|asks nothing of", r"the model dreams", r"held out by itself", r"from a probability of",
    r"if (nothing else|not|nothing) (is )?said", r"goes over the file", r"once the new one is whole",
    r"whether (stated|the stated) probabilities are true", r"nobody ha[sd] pointed", r"\btaught\b|\bteach(es)? \w+",
    r"not believed|may be believed", r"not themselves in a mirror", r"no TOML|no JSON\b", r"is to be seen here",
    r"good to (thirty|\d+)", r"no name in it", r"chance beginnings", r"two doors",
    r"(?<!standard )\bdeviations?\b", r"true deviations|stated spread", r"the real thing", r"see that all is well",
    r"\bgo(es)? on\b", r"\bcame to rest|com(es|ing) to rest", r"comes of it", r"nothing worth the name",
    r"fault of foveate", r"can be had|is had\b", r"\bturned (box|square|photograph|picture|object)",
)  # fmt: skip
"""Wordings that have better ones in the words of the field (the guide's glossary), and that do not come back."""


def help_texts():
    """(command, its help) as a terminal shows them, spaces and frames taken away."""
    for name in ["", *cli.COMMANDS]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert cli.run([*name.split(), "--help"]) == 0
        yield f"foveate {name} --help", re.sub(r"[│╭╮╰╯─\s]+", " ", out.getvalue())


def test_readers_meet_the_words_of_the_field():
    pages = [*PAGES, ROOT / "benchmarks" / "README.md", ROOT / "src" / "foveate" / "report" / "template" / "page.html"]
    texts = [(page_id(page), " ".join(prose(page).split())) for page in pages]
    met = [
        f"{place}: ...{text[max(0, found.start() - 40) : found.end() + 20]}..."
        for place, text in [*texts, *help_texts()]
        for wording in NOT_THE_FIELDS_WORDS
        for found in re.finditer(wording, text, re.IGNORECASE)
    ]
    assert not met, "\n".join(met)


def test_every_term_of_the_glossary_is_linked_where_a_reader_begins():
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "first-steps.md"):
        assert "glossary.md)" in page.read_text(encoding="utf-8"), page
    terms = re.findall(r"^\| ([\w ]+) \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) == 12 and {"SCENES", "RUN", "gaze", "glimpse", "ShiftNet", "temper", "nats"} < set(terms)


def test_every_page_has_its_place_in_the_navigation():
    listed = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert sorted(listed) == sorted(pages + [f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS])


def test_notebooks_keep_their_outputs_and_stay_small():
    for notebook in NOTEBOOKS:
        assert notebook.stat().st_size < 700_000, notebook
        cells = [
            cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"
        ]
        assert all(cell["execution_count"] for cell in cells), f"{notebook}: run it from the top"
        outputs = [output for cell in cells for output in cell["outputs"]]
        assert outputs and not [output for output in outputs if output["output_type"] == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_the_top(notebook, tmp_path):
    """Minutes: two of them train the demo's model, where FOVEATE_CACHE has none yet."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    book = nbformat.read(notebook, 4)
    client.NotebookClient(
        book, timeout=3600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert all(cell.execution_count for cell in book.cells if cell.cell_type == "code")
