"""The daemon: composition root and life cycle. Siblings that must not know each other meet here."""
