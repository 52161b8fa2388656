"""`python -m foveate` is `foveate`."""

import sys

from foveate.cli.main import main

sys.exit(main())
