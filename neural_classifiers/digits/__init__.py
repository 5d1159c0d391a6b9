"""Handwritten digits: their files, checks, networks, training and scores; no paths, no Prefect.

- `layouts`: which files of a folder are digits, as their sources and archivers leave them.
- `files`: images and labels out of IDX, ``.npz``, CSV and image files (`read_idx`, ...).
- `looks`: white backgrounds, blank images and noise: what is unlike the training images.
- `expectations`: `check_digits`, the gate of images and labels.
- `splits`: images to train with, and those set aside to validate with.
- `networks`: `DigitsPreset`, `NOTEBOOK` and `FAST`; networks built, rebuilt and asked.
- `training`: `train`, the same bits whatever kills it.
- `scores`: `score_network` on the test images, digit by digit, altered, over seeds.
"""
