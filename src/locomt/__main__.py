"""`python -m locomt` is the command `locomt`."""

import sys

from locomt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
