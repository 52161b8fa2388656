"""What a researcher comes for is in `foveate.boltzmann`, and settings are read without torch."""

import subprocess
import sys

import pytest

import foveate.boltzmann


def test_every_name_is_there_and_is_what_it_says():
    for name in foveate.boltzmann.__all__:
        assert getattr(foveate.boltzmann, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Bolzmann'"):
        foveate.boltzmann.Bolzmann  # noqa: B018


def test_the_package_and_its_settings_import_no_torch(environment):
    program = (
        "import sys, foveate.boltzmann, foveate.boltzmann.training.settings as s\n"
        "print(s.STANDARD.second.method, 'torch' in sys.modules, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["fast_pcd", "False", "False"]
