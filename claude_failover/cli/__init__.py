"""The command line: parse, one call, print. Data on stdout, talk on stderr."""
