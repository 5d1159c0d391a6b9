import gzip
import struct

import numpy as np
import pytest

from neural_classifiers.digits.files import read_idx


def to_idx(array, type_code=0x08):
    """IDX bytes of an array, written by the format's description and not by our reader."""
    header = struct.pack(">BBBB", 0, 0, type_code, array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.random.default_rng(1).integers(0, 256, (3, 28, 28)).astype(np.uint8)


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_images_come_back_as_they_were_written(wrap):
    images = read_idx(wrap(to_idx(IMAGES)), "images")

    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize(
    ("type_code", "dtype"), [(0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_every_type_of_number_is_read(type_code, dtype):
    array = np.array([[-1, 0], [2, 100]], dtype)

    np.testing.assert_array_equal(read_idx(to_idx(array, type_code), "a"), array)


def test_a_file_of_no_images_is_read_as_no_images():
    assert read_idx(to_idx(IMAGES[:0]), "images").shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an IDX file.*got no bytes"),
        (b"\x89PNG\r\n\x1a\n", "expected an IDX file.*got 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\0", "type out of 0x08, .*got 00 00 07 01"),
        (to_idx(IMAGES)[:9], "header of 16 bytes for 3 dimensions, got a file of 9"),
        # 16 + 3 * 28 * 28 = 2368
        (to_idx(IMAGES)[:-1], r"expected 2368 bytes .*\(3, 28, 28\).*got 2367"),
        (to_idx(IMAGES) + b"\0", "expected 2368 bytes.*got 2369"),
        # a size that lies must not become an attempt to make an array of 2^96 bytes
        (b"\0\0\x08\x03" + b"\xff" * 12, "expected 79228162458924105385300197391 bytes.*got 16"),
        (gzip.compress(to_idx(IMAGES))[:-9], "expected a whole gzip file"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage", "expected a whole gzip file"),
    ],
)
def test_a_file_that_is_not_whole_idx_is_refused_with_what_was_expected(data, message):
    with pytest.raises(ValueError, match=f"(?s)images.gz: .*{message}"):
        read_idx(data, "images.gz")


def test_a_gzip_file_damaged_inside_is_refused():
    data = bytearray(gzip.compress(to_idx(IMAGES)))
    data[len(data) // 2] ^= 0xFF

    with pytest.raises(ValueError, match="expected a whole gzip file"):
        read_idx(bytes(data), "images.gz")
