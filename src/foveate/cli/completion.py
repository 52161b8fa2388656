"""`foveate completion`: commands and options completed by the shell."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that completes commands and options in a shell.

    In bash, `eval "$(foveate completion bash)"` in ~/.bashrc. In zsh, `foveate completion zsh > _foveate` into a folder
    of $fpath. In fish, `foveate completion fish > ~/.config/fish/completions/foveate.fish`.

    Args:
        shell: Which shell.
    """
    from foveate.cli.main import everything

    print(everything().generate_completion(prog_name="foveate", shell=shell))
