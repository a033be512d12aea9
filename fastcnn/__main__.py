"""``python -m fastcnn``: the command line of `fastcnn.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
