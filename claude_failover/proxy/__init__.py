"""The data plane: the port that Claude Code talks to. It does what an exchange says, and decides nothing."""
