"""Handwritten digits: their files, checks, networks, training and scores; no paths, no Prefect.

- `files`: images and labels out of IDX, ``.npz``, CSV and PNG files (`read_idx`, ...).
- `expectations`: `check_digits`, the gate of images and labels.
- `splits`: images to train with, and those set aside to validate with.
- `networks`: `DigitsPreset`, `NOTEBOOK` and `FAST`; networks built, rebuilt and asked.
- `training`: `train`, the same bits whatever kills it.
- `scores`: `score_network` on the test images, digit by digit, altered, over seeds.
"""
