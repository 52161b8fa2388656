"""Folders are read without torch, which takes a second to import."""

import subprocess
import sys


def test_reading_a_folder_imports_no_torch(environment):
    script = "import foveate.scenes.folder, foveate.scenes.listing, sys; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
