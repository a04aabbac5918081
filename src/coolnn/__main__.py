"""`python -m coolnn` is the command `cool`."""

import sys

from .cli import main

sys.exit(main())
