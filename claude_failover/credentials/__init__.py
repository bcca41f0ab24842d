"""Credentials: where secrets come from, how they are kept fresh, and that they are not seen."""
