"""Digits from every kind of file that people have, and what damaged ones are told."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from neural_classifiers.digits.files import are_images, read_csv, read_idx, read_image, read_npz
from neural_classifiers.errors import SourceError
from tasks.downloads import to_idx
from tasks.ingest_digits import _read
from tasks.sources import find_source

LABELS = np.arange(60, dtype=np.uint8) % 10
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 28, 28)).astype(np.uint8)
IMAGES[:, 0, 0] = 0  # a corner, as in MNIST


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def picture(image, mode="L", form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def table(images, labels=None, header=False, at=0):
    rows = images.reshape(len(images), 784).astype(str).tolist()
    for row, label in zip(rows, [] if labels is None else labels, strict=False):
        row.insert(at, str(label))
    if header:
        names = [f"pixel{i}" for i in range(784)]
        rows.insert(0, names if labels is None else [*names[:at], "label", *names[at:]])
    return "\n".join(map(",".join, rows)).encode() + b"\n"


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


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("PNG", mode) for mode in ("L", "RGB", "RGBA", "LA")),
        *((form, "L") for form in ("BMP", "GIF", "TIFF", "PPM")),
        *((form, "RGB") for form in ("BMP", "PPM")),
    ],
)
def test_an_image_gives_its_grey_values(form, mode):
    data = picture(IMAGES[0], mode, form)

    np.testing.assert_array_equal(read_image(data, "a"), IMAGES[0])
    assert are_images(io.BytesIO(data))


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_an_image_that_lost_a_little_is_read_too(form):
    smooth = np.add.outer(np.arange(28), np.arange(28)).astype(np.uint8) * 4
    data = picture(smooth, "RGB", form, quality=95)

    assert np.abs(read_image(data, "a").astype(int) - smooth).max() < 12
    assert are_images(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a whole PNG, .* file, got 0 bytes"),
        (b"GIF89a", "expected a whole PNG, JPEG"),
        (picture(IMAGES[0])[:300], "expected a whole PNG.* file, got 300 bytes"),
        (
            picture(IMAGES[0][:20]),
            r"28 x 28 pixels in 8-bit grey or RGB, got 1 of 28 x 20 in mode L",
        ),
        (picture(IMAGES[0], "CMYK", "TIFF"), "got 1 of 28 x 28 in mode CMYK"),
        (picture(IMAGES[0].astype(np.uint16) << 8, "I;16"), "in mode I;16"),
        (picture(IMAGES[0], "L", transparency=0), "in mode L, with transparency"),
        (
            picture(
                IMAGES[0], "L", "GIF", save_all=True, append_images=[Image.fromarray(IMAGES[1])]
            ),
            "got 2 of 28 x 28",
        ),
    ],
)
def test_an_image_at_fault_is_refused_with_what_was_expected(data, message):
    with pytest.raises(ValueError, match=f"a.png: .*{message}"):
        read_image(data, "a.png")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("at", [0, 784])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_table_has_the_label_first_or_last_with_a_header_or_without(header, at, pack):
    images, labels = read_csv(pack(table(IMAGES, LABELS, header, at)), "train.csv")

    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "got 1 columns: ''"),
        (b"id,txt\n1,hello\n", "expected 784 pixels on each line.*got 2 columns: 'id,txt'"),
        (table(IMAGES + 0.5, LABELS), "whole numbers from 0 to 255 .* invalid value '0.5'"),
        (table(IMAGES.astype(int) + 200, LABELS), "whole numbers from 0 to 255 on each line, got"),
        (table(IMAGES, LABELS) + b"1,2,3\n", "Expected 785 columns, got 3"),
        (table(IMAGES, LABELS).replace(b"\n1,0,", b"\n1,,"), r"in every cell, got none in \['col"),
        (table(IMAGES[:0], LABELS[:0], header=True), "expected images, got a header alone"),
        (table(IMAGES, LABELS + 20), "labels from 0 to 9 in the first or in the last .*got none"),
        (table(IMAGES // 30, LABELS, at=784).replace(b"\n0,", b"\n5,"), "got them in both"),
    ],
    ids=["empty", "other", "parts", "bright", "short", "gap", "header", "letters", "both"],
)
def test_a_table_at_fault_is_refused_with_what_was_expected(data, message):
    with pytest.raises(ValueError, match=f"t.csv: .*{message}"):
        read_csv(data, "t.csv")


# --------------------------------------------------------------------------- what unpacks to much

HUGE = 2**27  # bytes, of zeros: packed they are a thousandth


def npz_of_zeros(shape):
    """Packed, with a header that promises an array of that shape."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("x_train", "y_train"):
            with archive.open(f"{name}.npy", "w") as file:
                head = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, head)
                file.write(bytes(min(HUGE // 2, shape[0])))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("read", "data", "message"),
    [
        (
            read_idx,
            gzip.compress(b"\0\0\x08\x01\x08\0\0\0" + bytes(HUGE)),
            "to at most 67,108,864, got more",
        ),
        (read_csv, gzip.compress(b"0," * (HUGE // 2)), "to at most 67,108,864, got more"),
        (read_npz, npz_of_zeros((HUGE // 2,)), "to at most 67,108,864, got 134,"),
        (read_npz, npz_of_zeros((10**15,))[: 10**6], "expected a whole .npz file of numbers"),
    ],
    ids=["IDX", "table", "npz", "npz that lies"],
)
def test_a_small_file_does_not_fill_the_memory(read, data, message):
    assert len(data) < 300_000
    with pytest.raises(ValueError, match=f"a: .*{message}"):
        read(data, "a")


# --------------------------------------------------------------------------- layouts

IDX = {
    f"{part}-{kind}-ubyte": to_idx(WHOLE[name])
    for part, kind, name in (
        ("train", "images-idx3", "x_train"),
        ("train", "labels-idx1", "y_train"),
        ("t10k", "images-idx3", "x_test"),
        ("t10k", "labels-idx1", "y_test"),
    )
}


def in_folders(train="train/", test="test/", name="{}.png", **options):
    """Image files of the digits above by their paths."""
    data = [picture(image, **options) for image in IMAGES]
    files = {f"{train}{LABELS[i]}/{name.format(f'{i:03}')}": data[i] for i in range(60)}
    tests = range(20 if test is not None else 0)
    return files | {f"{test}{LABELS[i]}/{name.format(f'{i:03}')}": data[i] for i in tests}


def idx(rename=str, pack=bytes):
    return {rename(name): pack(data) for name, data in IDX.items()}


TRAIN, TEST = table(IMAGES, LABELS, header=True), table(IMAGES[:20], LABELS[:20], header=True)
LAYOUTS = {
    "MNIST": idx(),
    "packed": idx(lambda name: f"{name}.gz", gzip.compress),
    "dots": idx(lambda name: name.replace("-idx", ".idx")),
    "capitals": idx(lambda name: f"{name.upper()}.GZ", gzip.compress),
    "test for t10k, prefix": idx(lambda name: f"emnist-digits-{name.replace('t10k', 'test')}"),
    "underscores": idx(lambda name: name.replace("-", "_")),
    "a browser's second download": idx(lambda name: f"{name} (1).gz", gzip.compress),
    "torchvision": idx("MNIST/raw/{}".format)
    | idx(lambda name: f"MNIST/raw/{name}.gz", gzip.compress),
    "Kaggle's archive": idx(lambda name: name.replace("-idx", ".idx")) | idx(lambda n: f"{n}/{n}"),
    "hidden files": idx()
    | {"._train-images-idx3-ubyte": b"x", ".ipynb_checkpoints/train.csv": b"x"}
    | {"__MACOSX/._t10k-images-idx3-ubyte": b"x", ".DS_Store": b"x"},
    "npz": {"mnist.npz": npz(**WHOLE)},
    "Kaggle's competition": {"train.csv": TRAIN, "test.csv": TEST},
    "CSV, packed, below": {"x/mnist_train.CSV.gz": gzip.compress(TRAIN), "x/mnist_test.csv": TEST},
    "images": in_folders(),
    "training and testing": in_folders("mnist_png/training/", "mnist_png/testing/"),
    "capital parts": in_folders("Train/", "Test/", "{}.PNG"),
    "several formats": in_folders(name="{}.bmp", form="BMP")
    | in_folders(test=None, name="{}.TIF", form="TIFF"),
    "checkpoints": in_folders() | {"train/0/.ipynb_checkpoints/a.png": b"x", "train/.a/a.png": b""},
}


def written(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_same_digits_come_of_every_layout(home, name):
    source = find_source(written(home / "digits", LAYOUTS[name]), "digits")

    (x_train, y_train), (x_test, y_test), oddities = _read(source, seed=1)

    order = np.argsort(LABELS, kind="stable") if source.format == "images" else np.arange(60)
    n = 2 if name == "several formats" else 1
    np.testing.assert_array_equal(y_train[::n], LABELS[order])
    np.testing.assert_array_equal(x_train[::n], IMAGES[order])
    assert (len(x_test), sorted(y_test)) == (20, sorted(LABELS[:20]))
    assert all("passed over" in each for each in oddities)  # hidden ones


@pytest.mark.parametrize(
    ("files", "n_train", "sentences"),
    [
        (in_folders("", None), 48, []),  # 60 / 5 = 12
        (in_folders("train/", None), 48, []),
        ({"train.csv": TRAIN}, 48, []),
        (
            {"train.csv": TRAIN, "test.csv": table(IMAGES[:20], header=True)},
            48,
            ["The test set has no labels and is not used."],
        ),
        (
            {"train.csv": TRAIN, "sample_submission.csv": b"ImageId,Label\n1,0\n"},
            48,
            ["1 files were passed over, such as sample_submission.csv."],
        ),
        (
            in_folders("", None)
            | {"0/Thumbs.db": b"x", "notes.txt": b"", "testSet/img_1.jpg": b""},
            48,
            ["3 files were passed over, such as notes.txt, testSet/img_1.jpg, 0/Thumbs.db."],
        ),
        (idx() | {"img/logo.png": b""}, 60, ["1 files were passed over, such as img/logo.png."]),
    ],
)
def test_what_is_passed_over_or_set_aside_is_said(home, files, n_train, sentences):
    train, test, oddities = _read(find_source(written(home / "digits", files), "digits"), seed=1)

    assert oddities == sentences
    assert (len(train[1]), len(test[1])) == (n_train, 12 if n_train == 48 else 20)
    assert n_train != 48 or sorted(np.bincount(test[1]).tolist()) == [1] * 8 + [2] * 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"digits.zip": b"PK"},
            r"expected the four files .* or images in ten folders.* got digits",
        ),
        ({"a.dat": b"", "b.dat": b""}, "one a label, got a.dat, b.dat"),
        ({".hidden": b""}, "got a folder without any"),
        ({"7.png": picture(IMAGES[0])}, "got 7.png"),
        ({"7/7.png": picture(IMAGES[0])}, "in ten folders, one a label, got the folders 7"),
        ({**in_folders(), "train/x/a.png": b""}, "got the folders 0, 1, 2, 3, 4 and 6 more"),
        (in_folders(test="more/"), "test/<label>/<image>, got images below more, train"),
        (in_folders() | idx(), "in one form, got train-images-idx3-ubyte and test/0/000.png: name"),
        ({"train.csv": TRAIN, "a.npz": b""}, "in one form, got train.csv and a.npz"),
        (
            {name: data for name, data in IDX.items() if "t10k" not in name},
            "got no test images, test labels in train-images-idx3-ubyte, train-labels-idx1-ubyte",
        ),
        (idx() | {f"old/{name}": data + b"x" for name, data in IDX.items()}, "several that differ"),
        ({"test.csv": TEST}, "got test.csv"),
    ],
)
def test_a_folder_without_digits_is_refused_with_what_was_found(home, files, message):
    with pytest.raises(SourceError, match=f"digits.*{message}"):
        find_source(written(home / "digits", files), "digits")


@pytest.mark.parametrize(("name", "n"), [("all.npz", 20), ("TRAIN.CSV", 12), ("a.csv.gz", 12)])
def test_one_file_may_hold_all_digits(home, name, n):
    data = npz(**WHOLE) if "npz" in name else TRAIN
    written(home, {name: gzip.compress(data) if name.endswith("gz") else data})

    assert len(_read(find_source(str(home / name), "digits"), seed=1)[1][1]) == n
    with pytest.raises(SourceError, match=r"expected an .npz file, a table .*, got digits.zip"):
        find_source(written(home, {"digits.zip": b""}) + "/digits.zip", "digits")


def test_a_truncated_file_is_named_with_the_bytes_expected_and_got(home):
    folder = written(
        home / "digits", IDX | {"t10k-images-idx3-ubyte": IDX["t10k-images-idx3-ubyte"][:-1]}
    )

    # 20 images of 784 bytes after a header of 16
    with pytest.raises(ValueError, match=r"t10k-images.*expected 15696 bytes .*, got 15695"):
        _read(find_source(folder, "digits"), seed=1)


@pytest.mark.parametrize(
    ("n_white", "turned", "sentences"),
    [
        (60, True, ["60 of 60 training images have a white background: all were turned round."]),
        (0, False, []),
        (6, False, ["6 of 60 training images have a white background and were left so."]),
    ],
)
def test_digits_on_white_are_turned_round_and_a_mixture_is_said(home, n_white, turned, sentences):
    images = IMAGES.copy()
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0
    given = np.concatenate([255 - images[:n_white], images[n_white:]])
    written(home, {"a.npz": npz(x_train=given, y_train=LABELS, x_test=images, y_test=LABELS)})

    train, test, oddities = _read(find_source(str(home / "a.npz"), "digits"), seed=1)

    np.testing.assert_array_equal(train[0], images if turned else given)
    np.testing.assert_array_equal(test[0], images)
    assert oddities == sentences
