"""Commands and options are completed by the shell."""

import shutil
import subprocess

import pytest

from foveate.cli import main as cli

COMPLETE = """source "$1"; shift
read -r _ _ function _ < <(complete -p foveate)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"$function" foveate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["foveate", ""], {name.split()[0] for name in cli.COMMANDS}),
        (["foveate", "att"], {"attend"}),
        (["foveate", "evaluate", ""], {"ambiguity", "bound", "convergence", "localization"}),
        (["foveate", "attend", "--over"], {"--overlays", "--overwrite"}),
        (["foveate", "train", "--preset", ""], {"quick", "standard"}),
    ],
)
def test_bash_offers_commands_options_and_their_values(typed, offered, tmp_path, capfd):
    assert cli.run(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capfd.readouterr().out)
    command = ["bash", "-c", COMPLETE, "bash", str(tmp_path / "script"), *typed]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert {word.strip() for word in done.stdout.split()} == offered, done.stderr


def test_there_is_a_script_for_each_shell_and_no_other(capfd):
    for shell, mark in (("zsh", "#compdef foveate"), ("fish", "complete -c foveate")):
        assert cli.run(["completion", shell]) == 0
        script = capfd.readouterr().out
        assert mark in script and "--overlays" in script
    assert cli.run(["completion", "tcsh"]) == 2
