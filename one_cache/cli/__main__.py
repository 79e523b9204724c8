"""``python -m one_cache.cli``."""

from __future__ import annotations

import sys

from one_cache.cli import main

sys.exit(main())
