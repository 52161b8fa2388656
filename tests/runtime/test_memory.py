"""Claims about counting memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
from peak import peak_memory

SLACK = 1_000_000  # bytes by which the kernel's count, kept a processor at a time, may be behind

FILL = """
import sys
from peak import peak_memory
before = peak_memory()
filled = b"1" * int(sys.argv[1])
print(peak_memory() - before)
"""


def test_the_peak_stays_when_memory_is_let_go_of():
    before = peak_memory()
    filled = np.ones(before + 50_000_000, np.uint8)
    assert (most := peak_memory()) >= before + 50_000_000 - SLACK
    del filled
    assert peak_memory() >= most - SLACK


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a child's count may start at its parent's")
def test_a_child_of_a_larger_process_counts_its_own_memory(environment):
    filled = np.ones(400_000_000, np.uint8)
    command = [sys.executable, "-c", FILL, "100000000"]
    environment = {**environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert 95_000_000 <= int(done.stdout) <= 150_000_000 < peak_memory()
    assert filled.all()
