"""Flows: what happens, in what order."""
