"""Settings on the command line: one name in every command, refused by it before anything is read, older files load."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from foveate.attention.settings import AttendSettings, SearchSettings
from foveate.boltzmann.training.settings import PLAIN
from foveate.cli import main as cli
from foveate.cli.options import Common
from foveate.cli.recipe import after, attend_settings, gather, settings_of
from foveate.errors import BadInput
from foveate.learning.settings import PRESETS as LEARNING
from foveate.storage.config import FORMAT, listed, override, read_config, to_table, to_toml
from foveate.storage.run import MODELS, Run
from foveate.training.settings import PRESETS as TRAINING

WITHOUT_TORCH = """
import sys
from foveate.cli import main
status = main.run(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(status)
"""
OLDER = Path(__file__).parent / "older"

WRONG = [
    "shiftnet.loss=msee",
    "attend.starts=bogus",
    "held_out=7",
    "held_out=nan",
    "shiftnet.batch=0",
    "shiftnet.rate=nan",
    "largest=0",
    "gdbn.n_hidden1=0",
    "search.most=1.5",
    "posterior.target=papyrus",
    "posterior.chain=4",
]
OF_ATTENDING = [word for word in WRONG if word.startswith(("attend.", "search.", "posterior."))]


@pytest.fixture
def run(tmp_path):
    """A RUN folder that a torch-free look takes for whole."""
    path = tmp_path / "run"
    path.mkdir()
    for name in MODELS:
        (path / name).touch()
    (path / "config.toml").write_text(to_toml({"command": "train", "settings": to_table(TRAINING["quick"])}))
    return path


def refused(arguments: list[str]) -> tuple[str, float]:
    """What a command says that ends with status 2 without torch, and how long that takes."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr, time.monotonic() - started


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_setting_is_refused_by_name_before_torch_is_loaded(word, tmp_path):
    said, seconds = refused(["train", tmp_path / "nowhere", "--out", tmp_path / "run", "--set", word])
    assert f"--set: {word.partition('=')[0]}" in said.replace("no setting ", "") and seconds < 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "command", ["attend RUN SCENES --out X", "evaluate localization RUN SCENES", "learn RUN SCENES --out X"]
)
def test_every_command_refuses_the_same_names_as_soon(command, run, tmp_path):
    places = {"RUN": str(run), "SCENES": str(tmp_path / "nowhere"), "X": str(tmp_path / "x")}
    for word in OF_ATTENDING if not command.startswith("learn") else WRONG[:1] + OF_ATTENDING:
        said, seconds = refused([places.get(each, each) for each in command.split()] + ["--set", word])
        assert f"--set: {word.partition('=')[0]}" in said.replace("no setting ", "") and seconds < 3
    assert not (tmp_path / "x").exists()


def test_a_wrong_value_in_a_file_is_refused_with_the_files_name(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[settings.shiftnet]\nbatch = 0\n")
    said, _ = refused(["train", tmp_path / "nowhere", "--out", tmp_path / "run", "--config", file])
    assert said == f"foveate: {file}: shiftnet.batch: should be greater than or equal to 1, got 0\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "1.5"], "--seed: expected a whole number"),
        (["--set", "seed=3"], "the seed is given by --seed"),
        (["--set", "attend.seed=3"], "the seed is given by --seed"),
    ],
)
def test_a_seed_is_a_whole_number_given_by_its_option(words, said, tmp_path, capfd):
    assert cli.run(["train", "nowhere", "--out", str(tmp_path / "run"), *words]) == 2
    assert said in capfd.readouterr().err


def test_a_setting_has_one_name_in_every_command():
    attending, training = listed(AttendSettings(), "attend.").keys(), listed(TRAINING["standard"]).keys()
    learning = listed(LEARNING["standard"]).keys()
    assert attending < training < learning
    one = {"search.most": 1, "attend.largest": 900, "posterior.draws": 7}
    attend = override(AttendSettings(), one, "--set", "attend.")
    for other in (override(TRAINING["standard"], one, "--set"), override(LEARNING["standard"], one, "--set").train):
        assert other.attend == attend
    assert (attend.search.most, attend.largest, attend.posterior.draws) == (1, 900, 7)


@pytest.mark.parametrize(
    ("name", "settings", "under"),
    [
        ("train.attend.search.most", LEARNING["quick"], ""),
        ("train.search.most", LEARNING["quick"], ""),
        ("attend.search.most", LEARNING["quick"], ""),
        ("attend.search.most", TRAINING["quick"], ""),
        ("attend.search.most", AttendSettings(), "attend."),
    ],
)
def test_names_that_earlier_versions_asked_for_are_taken_too(name, settings, under):
    assert override(settings, {name: 3}, "--set", under) == override(settings, {"search.most": 3}, "--set", under)
    assert override(AttendSettings(), {"largest": 9}, "--set", "attend.").largest == 9


def test_few_settings_can_be_named():
    """Aside from those of the search, and of what ranks its gazes: `ranking`."""
    names = [name for name in listed(LEARNING["standard"]) if name.split(".")[-1] != "seed"]
    own = [name for name in names if not name.startswith(("search.", "ranking."))]
    assert len(own) <= 60 and len(names) <= 85


def test_a_config_of_the_first_format_is_the_recipe_that_it_was():
    config = OLDER / "train.toml"
    recipe = gather(str(config), None, None, None, None, Common())
    now = TRAINING["standard"]  # what a search was and is are two things but for its last steps
    ranking, attend = replace(now.ranking, scenes=300, mosaics=300), replace(now.attend, search=SearchSettings(fine=3))
    networks = {"shiftnet": replace(now.shiftnet, steps=8000), "fine": replace(now.fine, steps=2000)}
    now = replace(now, gdbn=PLAIN, sideways=replace(now.sideways, share=0.5), **networks)
    assert settings_of(recipe, TRAINING) == replace(now, seed=7, ranking=ranking, attend=attend)
    recipe = gather(str(OLDER / "learn.toml"), None, None, None, None, Common())
    now = LEARNING["quick"].train
    ranking, attend = (
        replace(now.ranking, mosaics=30, held_out_mosaics=10),
        replace(now.attend, search=SearchSettings(fine=3)),
    )
    plain = replace(now.gdbn, start="combs", n_hidden1=500, n_hidden2=500)
    train = replace(now, seed=7, held_out=0.2, gdbn=plain, ranking=ranking, attend=attend)
    assert settings_of(recipe, LEARNING) == replace(LEARNING["quick"], seed=3, rounds=2, train=train)


@pytest.mark.parametrize("presets", [TRAINING, LEARNING])
def test_what_has_a_handedness_is_mirrored_nowhere_but_where_the_user_says_so(presets):
    recipe = gather(None, None, None, None, ["fine.pairs.appearance.mirror=0.2"], Common(), symmetry="none")
    settings = settings_of(recipe, presets)
    train = settings if presets is TRAINING else settings.train
    networks = train.shiftnet, train.fine
    assert (train.patches.mirror, train.sideways.share) == (False, 0.0)
    assert [network.pairs.appearance.mirror for network in networks] == [0.0, 0.2]


@pytest.mark.parametrize("command", ["train", "learn"])
def test_learning_and_attending_begin_with_a_run_of_the_first_format(command, run):
    text = (OLDER / f"{command}.toml").read_text()
    (run / "config.toml").write_text(text.replace("angles = 4", "angles = 2").replace("fine = 3", "fine = 4"))
    recipe = after(gather(None, None, None, None, None, Common(seed=5)), Run.open(run), LEARNING["standard"])
    settings = settings_of(recipe, LEARNING)
    preset = {"train": "standard", "learn": "quick"}[command]
    assert (settings.seed, settings.rounds) == (5, LEARNING[preset].rounds)
    assert (settings.train.seed, settings.train.held_out) == (7, {"train": 0.12, "learn": 0.2}[command])
    assert settings.train.attend.search == replace(TRAINING[preset].attend.search, fine=4)
    assert attend_settings(str(run), None, Common(), "many") == settings.train.attend


@pytest.mark.parametrize(
    ("table", "name", "was", "now", "said"),
    [
        ("shiftnet", "loss", '"mse"', '"huber"', "shiftnet.loss is no setting any more: it is 'mse', got 'huber'"),
        ("gdbn", "momentum2", "0.0", "0.5", "gdbn.second.momentum is no setting any more: it is 0.0, got 0.5"),
        ("fine.descent", "decay", "0.995", "0.9", "fine.decay is no setting any more: it is 0.995, got 0.9"),
    ],
)
def test_what_is_gone_is_passed_over_at_its_default_and_named_at_another_value(tmp_path, table, name, was, now, said):
    text = (OLDER / "train.toml").read_text()
    before, heading, rest = text.partition(f"[settings.{table}]\n")
    assert f"\n{name} = {was}\n" in f"\n{rest}"
    (tmp_path / "old.toml").write_text(before + heading + rest.replace(f"{name} = {was}", f"{name} = {now}", 1))
    with pytest.raises(BadInput) as error:
        settings_of(gather(str(tmp_path / "old.toml"), None, None, None, None, Common()), TRAINING)
    assert said in str(error.value)


def test_a_config_of_a_later_format_is_refused_and_a_byte_order_mark_is_not(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert read_config(file) == {"seed": 3}
    file.write_text(f"format = {FORMAT + 1}\n")
    with pytest.raises(BadInput, match=f"format = {FORMAT + 1} is of a later version"):
        read_config(file)


@pytest.mark.parametrize("preset", ["quick", "standard"])
def test_what_config_toml_lists_and_its_preset_give_the_settings_back(preset):
    for presets in (TRAINING, LEARNING):
        changed = override(presets[preset], {"shiftnet.batch": 9, "search.most": 2}, "--set")
        assert override(presets[preset], to_table(changed), "config.toml") == changed
