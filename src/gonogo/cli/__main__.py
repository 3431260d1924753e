"""`python -m gonogo.cli`: the command `gonogo`, for an environment without its script."""

import sys

from gonogo.cli.main import main

sys.exit(main())
