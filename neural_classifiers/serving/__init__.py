"""Promoted models: which of them answers, and what it answers; no Prefect.

A *version* is a promoted model; the *registry* holds versions; one version of each kind *serves*;
*gates* decide whether a run's model becomes a version and serves.

- `registry`: ``load`` a version, list them, roll back, find the one that serves.
- `model`: ``Classifier`` and ``DigitReader``, which `load` gives; the files of a version.
- `promotion`: ``decide`` on a ``Challenger``.
- `predict`: predictions of texts, files of comments and images; `prediction_files` writes them.
- `trained_on`: texts and images that a version was trained on, and how far others lie from them.
"""
