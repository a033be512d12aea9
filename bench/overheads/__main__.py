"""``python -m bench.overheads``."""

import sys

from .run import main

sys.exit(main())
