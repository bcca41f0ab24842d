"""What every test may count on."""

from __future__ import annotations

import signal

# A shell that starts CI in the background has it, and every program that it starts, ignore what Ctrl-C sends.
signal.signal(signal.SIGINT, signal.default_int_handler)
