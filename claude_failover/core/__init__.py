"""Decisions, and nothing else: no I/O, no clock, no randomness.

What comes in are values (bytes, headers, instants); what goes out are values
(commands, verdicts, records). The edges feed and obey. The core imports itself,
:mod:`claude_failover.errors`, ``msgspec`` and the part of the standard library
that cannot do I/O, tell the time or roll dice; ``tests/unit/test_architecture.py``
holds the allow-list.
"""
