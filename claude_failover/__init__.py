"""claude-failover: Claude Code keeps working when the Claude API does not."""

__version__ = "0.1.0"
