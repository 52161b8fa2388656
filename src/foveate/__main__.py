"""`python -m foveate` is `foveate`."""

import sys

from foveate.cli import main

sys.exit(main())
