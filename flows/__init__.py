"""Flows: what happens, in what order. Importing one makes Prefect this project's, as `run` does."""

from neural_classifiers.engine import own_prefect

own_prefect.enter_from_python()  # before a flow imports Prefect, which then reads its settings
