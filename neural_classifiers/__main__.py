"""``python -m neural_classifiers`` is the console script ``neural-classifiers``."""

import sys

from neural_classifiers.operation.cli import main

sys.exit(main())
