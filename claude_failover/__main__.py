"""``python -m claude_failover``: the command line."""

from __future__ import annotations

import sys

from claude_failover.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
