"""The control channel: how the command line talks to a running daemon, over a Unix socket."""
