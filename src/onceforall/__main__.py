"""`python -m onceforall` is `ofa`; launchers such as torchrun need a module to start."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
