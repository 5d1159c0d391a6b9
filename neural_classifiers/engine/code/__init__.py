"""The code that a step can reach, as one digest."""
