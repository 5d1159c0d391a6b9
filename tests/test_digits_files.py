"""Digits from every kind of file that people have, and what damaged ones are told."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from neural_classifiers.digits.files import read_npz, read_png
from neural_classifiers.engine import paths
from neural_classifiers.errors import SourceError
from tasks.downloads import to_idx
from tasks.ingest_digits import _read
from tasks.sources import find_source, read_catalogue

LABELS = np.arange(60, dtype=np.uint8) % 10
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 28, 28)).astype(np.uint8)


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def png(image, mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


WHOLE = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:20], "y_test": LABELS[:20]}


def test_an_npz_file_gives_its_four_arrays_or_the_two_of_training():
    four = read_npz(npz(**WHOLE), "digits.npz")
    two = read_npz(npz(x_train=IMAGES, y_train=LABELS), "digits.npz")

    for got, expected in zip(four, WHOLE.values(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert len(two) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a whole .npz file of numbers, got 0 bytes"),
        (npz(**WHOLE)[:-100], "expected a whole .npz file"),
        (npz(x_train=IMAGES), "expected the arrays x_train, y_train, got no y_train but x_train"),
        (npz(x_train=IMAGES, y_train=LABELS, y_test=LABELS), "got no x_test"),
        (npz(**WHOLE | {"y_train": np.array(["7", None], object)}), "whole .npz file of numbers"),
    ],
    ids=["empty", "truncated", "no labels", "half a test set", "Python objects"],
)
def test_an_npz_file_at_fault_is_refused_with_what_was_expected(data, message):
    with pytest.raises(ValueError, match=f"digits.npz: .*{message}"):
        read_npz(data, "digits.npz")


def test_an_npz_file_damaged_inside_is_refused():
    data = bytearray(npz(**WHOLE))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inside = archive.getinfo("x_train.npy").header_offset + 2_000
    data[inside] ^= 0xFF

    with pytest.raises(ValueError, match=r"expected a whole \.npz file"):
        read_npz(bytes(data), "digits.npz")


def test_a_png_gives_its_grey_values():
    np.testing.assert_array_equal(read_png(png(IMAGES[0]), "a.png"), IMAGES[0])
    np.testing.assert_array_equal(read_png(png(IMAGES[0], "RGB"), "a.png"), IMAGES[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a whole PNG file, got 0 bytes"),
        (b"GIF89a", "expected a whole PNG file"),
        (png(IMAGES[0])[:300], "expected a whole PNG file, got 300 bytes"),
        (png(IMAGES[0][:20]), r"28 x 28 pixels in 8-bit grey or RGB, got 28 x 20 in mode L"),
        (png(IMAGES[0], "RGBA"), "got 28 x 28 in mode RGBA"),
    ],
    ids=["empty", "GIF", "truncated", "small", "transparent"],
)
def test_a_png_at_fault_is_refused_with_what_was_expected(data, message):
    with pytest.raises(ValueError, match=f"a.png: .*{message}"):
        read_png(data, "a.png")


def written(folder, form):
    """The digits above in one of the forms that a path may have."""
    folder.mkdir()
    names = read_catalogue(paths.catalogue())["mnist"].files
    if form == "npz":
        (folder / "digits.npz").write_bytes(npz(**WHOLE))
        return folder / "digits.npz"
    if form.startswith("idx"):
        for name, array in zip(names, WHOLE.values(), strict=True):
            data = to_idx(array)
            ending, data = (".gz", gzip.compress(data)) if form == "idx, gz" else ("", data)
            (folder / f"{name}{ending}").write_bytes(data)
        return folder
    for part, n in (("train", 60), ("test", 20)):
        for i in range(n):
            path = folder / part / str(LABELS[i]) / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(IMAGES[i]))
    return folder


@pytest.mark.parametrize("form", ["idx", "idx, gz", "npz", "png"])
def test_the_same_digits_come_of_every_form(home, form):
    source = find_source(str(written(home / "digits", form)), "digits")

    (x_train, y_train), (x_test, y_test) = _read(source, seed=1)

    order = np.argsort(LABELS, kind="stable") if form == "png" else np.arange(60)
    np.testing.assert_array_equal(y_train, LABELS[order])
    np.testing.assert_array_equal(x_train, IMAGES[order])
    assert (len(x_test), sorted(y_test)) == (20, sorted(LABELS[:20]))


def test_pngs_without_test_images_have_a_fifth_of_each_label_set_aside(home):
    folder = written(home / "digits", "png") / "train"

    train, test = _read(find_source(str(folder), "digits"), seed=1)

    assert sorted(np.bincount(test[1]).tolist()) == [1] * 8 + [2] * 2  # 60 / 5 = 12
    assert len(train[1]) == 48


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits.zip", "expected a folder or an .npz file, got digits.zip"),
        ("empty", r"expected the files train-images-idx3-ubyte, .* got no train-images"),
        ("pngs", "expected PNG files in ten folders, one a label, got the folders"),
    ],
)
def test_a_path_without_digits_is_refused_with_what_may_be_there(home, name, message):
    path = home / name
    if name.endswith("zip"):
        path.write_bytes(b"PK")
    else:
        path.mkdir()
    if name == "pngs":
        (path / "7.png").write_bytes(png(IMAGES[0]))

    with pytest.raises(SourceError, match=message):
        find_source(str(path), "digits")


def test_pngs_below_other_folders_are_refused(home):
    folder = written(home / "digits", "png")
    (folder / "test").rename(folder / "more")

    with pytest.raises(SourceError, match=r"got PNG files below \['more', 'train'\]"):
        _read(find_source(str(folder), "digits"), seed=1)


def test_a_truncated_file_is_named_with_the_bytes_expected_and_got(home):
    folder = written(home / "digits", "idx")
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])

    # 20 images of 784 bytes after a header of 16
    with pytest.raises(ValueError, match=r"t10k-images.*expected 15696 bytes .*, got 15695"):
        _read(find_source(str(folder), "digits"), seed=1)
