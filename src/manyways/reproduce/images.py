"""Appendix F: images from codes of 2, 8 and 16 dimensions (Figures 14 to 16), compared with a VAE and PCA.

The search is chosen for one core. A code of two dimensions is searched among samples of the prior, which are decoded
once for all images (Algorithm 1). A longer code begins with an image's principal components, and is searched near the
last code. Beside that, with another network, it is searched as Algorithm 4 is printed: block after block of samples of
the prior, from zeros in every epoch.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from manyways.algorithms.sog import SOG, SOGModel
from manyways.clustering.initial_codes import ComponentCodes
from manyways.errors import InputError, require_at_least, require_choice
from manyways.files import read_json, read_tensors, write_json, write_tensors
from manyways.latents import Gaussian
from manyways.reproduce.image_data import Images, ImageTask, load_images
from manyways.reproduce.image_models import VAE, generator
from manyways.runs.provenance import provenance
from manyways.search.settings import Search
from manyways.visual.colours import code_colours
from manyways.visual.figures import save

Floats = NDArray[np.float32]

DIMENSIONS: dict[ImageTask, int] = {"mnist": 2, "fashion-mnist": 8, "celeba": 16}
_FIGURES: dict[ImageTask, str] = {"mnist": "figure-14.png", "fashion-mnist": "figure-15.png", "celeba": "figure-16.png"}
_SAMPLED = 2  # dimensions, up to which samples of the prior cover the codes
LOCAL, COORDINATE = "SOG", "SOG, Algorithm 4"
_WAYS = {"local": (LOCAL,), "coordinate": (COORDINATE,), "both": (LOCAL, COORDINATE)}
_NEIGHBOURS = 10  # of k-NN
_MOST_NEIGHBOURS = 1000  # training images of k-NN
_ROW = 12  # images in a row of reconstructions


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Settings of an experiment on images.

    Args:
        dimension: of a code.
        images: training images, at most.
        size: of photographs, in pixels; a multiple of 8.
        width: of the generator, channels before its last layer.
        epochs: of SOG and of the VAE.
        batch_size: images in a gradient step.
        learning_rate: at the start; falls to 0 linearly.
        candidates: samples of the prior that are tried; for longer codes, in each block of two dimensions.
        local: neighbours of the last code that are tried in each epoch, for longer codes.
        refine: searches near each code before scoring.
        ways: how longer codes are searched: "local", "coordinate" (Algorithm 4 as printed), or "both" side by side.
        seed: of everything random.

    Raises:
        InputError: a setting is out of its range.
    """

    dimension: int
    images: int
    size: int
    width: int
    epochs: int
    batch_size: int
    learning_rate: float
    candidates: int
    local: int
    refine: int
    seed: int
    ways: Literal["local", "coordinate", "both"] = "both"

    def __post_init__(self) -> None:
        require_choice(self, "ways", *_WAYS)
        require_at_least(self, 0, "seed", "refine", "local")
        require_at_least(self, 1, "dimension", "images", "size", "width", "epochs", "batch_size", "candidates")

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the ways to search, the one that is drawn first."""
        return (LOCAL,) if self.dimension <= _SAMPLED else _WAYS[self.ways]

    def search(self) -> Search:
        """Return the search over a whole code, from zeros."""
        return Search(candidates=self.candidates, block=2, rounds=1)


def reproduce_images(
    task: ImageTask,
    out: Path,
    settings: ImageSettings,
    folder: Path | None,
    *,
    download: bool,
    say: Callable[[str], object],
    progress: Callable[[str, int], Callable[[int, str], None]],
) -> dict[str, Any]:
    """Learn images with SOG and with a VAE, and write figures and results.json into `out`.

    Networks in `out` with the same settings and data are read and not trained again.

    Args:
        task: which experiment.
        out: the folder.
        settings: of the experiment.
        folder: of the original files, or None.
        download: fetch the files instead.
        say: called with a sentence about the data.
        progress: starts a bar with a name and a total; returns a function of the progress and a note.

    Returns:
        The content of results.json.

    Raises:
        InputError: the images cannot be read, or do not fit the generator.
    """
    rng = np.random.default_rng(settings.seed)
    images = load_images(task, folder, download=download, most=settings.images, size=settings.size, rng=rng)
    say(f"data: {images.source}; {len(images.train):,} to learn from, {len(images.test):,} to be examined on")
    train, test = torch.from_numpy(np.ascontiguousarray(images.train)), torch.from_numpy(images.test.copy())
    shape = (int(train.shape[1]), int(train.shape[2]), int(train.shape[3]))
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        networks = {way: generator(settings.dimension, shape, settings.width) for way in settings.methods}
        vae = VAE(settings.dimension, shape, settings.width)
    prior = Gaussian(settings.dimension)
    learners = {
        way: SOG(
            network,
            prior,
            search=settings.search(),
            local=settings.local if way == LOCAL and settings.dimension > _SAMPLED else 0,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=settings.seed,
            device="cpu",
        )
        for way, network in networks.items()
    }
    neighbours = train[:_MOST_NEIGHBOURS]
    first: dict[str, Any] = dict.fromkeys(("train", "test", "neighbours"))
    if any(learner.local for learner in learners.values()):
        components = ComponentCodes.fit(train.flatten(1).numpy(), prior)
        for name, part in (("train", train), ("test", test), ("neighbours", neighbours)):
            first[name] = components(part.flatten(1).numpy())
    models, seconds = _train_or_read(learners, vae, train, first["train"], out, settings, images.source, progress)

    update = progress("encoding", len(models))
    codes, neighbour_codes, encoding_seconds = {}, {}, {}
    for number, (way, model) in enumerate(models.items(), 1):
        if settings.dimension <= _SAMPLED:
            model.search = Search(candidates=2000, block=settings.dimension)
        printed = way == COORDINATE  # then nothing follows the search
        refine, start = 0 if printed else settings.refine, time.process_time()
        codes[way] = model.encode(None, test, refine=refine, near=None if printed else first["test"])
        encoding_seconds[way] = time.process_time() - start
        near = None if printed else first["neighbours"]
        neighbour_codes[way] = model.encode(None, neighbours, refine=refine, near=near)
        update(number, "")
    reconstructions = {way: model.decode(codes[way]) for way, model in models.items()}
    codes["VAE"], neighbour_codes["VAE"] = vae.encode(test), vae.encode(neighbours)
    reconstructions["VAE"] = vae.decode(codes["VAE"])
    pca = PCA(min(settings.dimension, len(train) - 1), random_state=settings.seed).fit(train.flatten(1).numpy())
    codes["PCA"], neighbour_codes["PCA"] = (
        torch.from_numpy(pca.transform(part.flatten(1))) for part in (test, neighbours)
    )
    restored = pca.inverse_transform(codes["PCA"].numpy()).astype(np.float32)
    reconstructions["PCA"] = torch.from_numpy(restored).view_as(test)

    scores = {
        name: _score(images, test, reconstructions[name], neighbour_codes[name], codes[name])
        for name in reconstructions
    }
    _draw(task, out, models[settings.methods[0]], images, codes[settings.methods[0]], reconstructions, scores)
    results = {
        "data": {"source": images.source, "train": len(train), "test": len(test), "shape": list(shape)},
        "settings": asdict(settings),
        "training_seconds": seconds,
        "encoding_seconds": encoding_seconds,
        "scores": scores,
    }
    write_json(out / "results.json", results | {"provenance": provenance(seeds=[settings.seed])})
    return results


def _train_or_read(
    learners: dict[str, SOG],
    vae: VAE,
    train: Tensor,
    initial_codes: Floats | None,
    out: Path,
    settings: ImageSettings,
    source: str,
    progress: Callable[[str, int], Callable[[int, str], None]],
) -> tuple[dict[str, SOGModel], dict[str, float]]:
    """Train the networks, or read them from `out`; return the models and the seconds of each."""
    weights, about = out / "networks.safetensors", out / "networks.json"
    description = {"settings": asdict(settings), "source": source, "images": float(train.double().sum())}
    networks = torch.nn.ModuleDict({way: learner.network for way, learner in learners.items()} | {"VAE": vae})
    if about.exists() and weights.exists():
        saved = read_json(about)
        if isinstance(saved, dict) and saved.get("asked") == description:
            try:
                networks.load_state_dict(read_tensors(weights))
            except RuntimeError as error:
                raise InputError(f"{weights} is not of these settings; remove it and run this again") from error
            networks.eval()
            return {way: learner.model() for way, learner in learners.items()}, dict(saved["seconds"])
    models, seconds = {}, {}
    for way, learner in learners.items():
        update, start = progress(way, settings.epochs), time.process_time()

        def after_epoch(model: SOGModel, update: Callable[[int, str], None] = update) -> None:
            update(model.epoch, f"squared error {model.loss:.2f}")

        models[way] = learner.fit(None, train, after_epoch, initial_codes=initial_codes if learner.local else None)
        seconds[way] = time.process_time() - start
    update_vae, start = progress("VAE", settings.epochs), time.process_time()
    vae.train_on(
        train,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        callback=lambda epoch: update_vae(epoch, ""),
    )
    seconds["VAE"] = time.process_time() - start
    write_tensors(weights, networks.state_dict())
    write_json(about, {"asked": description, "seconds": seconds})
    return models, seconds


def _score(
    images: Images, test: Tensor, reconstructed: Tensor, neighbour_codes: Tensor, codes: Tensor
) -> dict[str, float | None]:
    """Return the mean squared error of an image and of a pixel, and the accuracy of k-NN on the codes."""
    accuracy = None
    if images.train_labels is not None and images.test_labels is not None:
        neighbours = KNeighborsClassifier(min(_NEIGHBOURS, len(neighbour_codes)))
        neighbours.fit(neighbour_codes.numpy(), images.train_labels[: len(neighbour_codes)])
        accuracy = float(neighbours.score(codes.numpy(), images.test_labels))
    return {
        "squared_error_an_image": (reconstructed - test).flatten(1).square().sum(dim=1).mean().item(),
        "squared_error_a_number": (reconstructed - test).square().mean().item(),
        "knn_accuracy": accuracy,
    }


def _draw(
    task: ImageTask,
    out: Path,
    sog: SOGModel,
    images: Images,
    codes: Tensor,
    reconstructions: dict[str, Tensor],
    scores: dict[str, dict[str, float | None]],
) -> None:
    sheet = _reconstructions(images, reconstructions, scores)
    if task == "celeba":
        save(sheet, out / _FIGURES[task])
        save(_nested_sweep(sog, images, codes[0]), out / "sweep.png")
        return
    save(sheet, out / "reconstructions.png")
    if sog.prior.dimension == 2:
        save(_plane(sog, images, codes), out / _FIGURES[task])
    else:
        save(_nested_sweep(sog, images, codes[0]), out / _FIGURES[task])


def _tile(pictures: Floats, rows: int, columns: int) -> Floats:
    """Return images (rows * columns, channels, height, width), row after row, as one of height, width and channels."""
    count, channels, height, width = pictures.shape
    assert count == rows * columns
    grid = pictures.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    return grid.reshape(rows * height, columns * width, channels)


def _show(panel: Any, picture: Floats, **keywords: Any) -> None:
    """Draw an image; grey ones in ink on paper."""
    if picture.shape[-1] == 1:
        panel.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=1, **keywords)
    else:
        panel.imshow(picture, **keywords)


def _plane(sog: SOGModel, images: Images, codes: Tensor) -> Figure:
    """Draw Figure 14: the images of all codes of two dimensions, and the codes of images with each label."""
    prior = sog.prior
    assert isinstance(prior, Gaussian)
    count = 16
    pictures = sog.decode(prior.grid(count)).numpy().reshape(count, count, *images.test.shape[1:])
    # The first dimension runs to the right, the second upwards.
    upright = pictures.transpose(1, 0, 2, 3, 4)[::-1].reshape(-1, *images.test.shape[1:])
    figure = Figure(figsize=(12.4, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _show(left, _tile(upright, count, count), extent=(0, 1, 0, 1))
    labels = {"xlabel": "prior's CDF of the first dimension", "ylabel": "prior's CDF of the second dimension"}
    left.set(title="(a) generated, over all codes", **labels)
    if images.test_labels is None:
        right.scatter(*prior.cdf(codes).T, s=8)
    else:
        for label, colour in enumerate(code_colours(len(images.names))):
            rows = torch.from_numpy(images.test_labels == label)
            points = prior.cdf(codes[rows]).T
            right.scatter(*points, s=10, color=colour, label=images.names[label], linewidths=0)
        right.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2)
    right.set(title="(b) codes of test images, by label", xlim=(0, 1), ylim=(0, 1), **labels)
    right.set_aspect("equal")
    figure.suptitle(f"SOG, codes of 2 dimensions; {images.source}")
    return figure


def _nested_sweep(sog: SOGModel, images: Images, middle: Tensor, inner: int = 6, outer: int = 3) -> Figure:
    """Draw Figure 15: blocks over two dimensions of the code, in a block over two more.

    The others are those of one image: with all of them 0, a code is nearer to the middle of the prior than any image's.
    The four dimensions are those that change that image most, each by itself.
    """
    prior = sog.prior
    assert isinstance(prior, Gaussian)
    order = _influence(sog, middle)[:4]
    steps = {inner: Gaussian(1).grid(inner)[:, 0], outer: Gaussian(1).grid(outer)[:, 0]}
    values = np.meshgrid(steps[outer], steps[inner], steps[outer], steps[inner], indexing="ij")
    codes = np.tile(middle.numpy(), (outer * inner * outer * inner, 1))
    # Rows of blocks, rows in a block, columns of blocks, columns in a block.
    for dimension, value in zip((order[2], order[0], order[3], order[1]), values, strict=False):
        codes[:, dimension] = value.ravel()
    side = outer * inner
    figure = Figure(figsize=(9, 9.4), layout="constrained")
    panel = figure.subplots()
    _show(panel, _tile(sog.decode(codes).numpy(), side, side), extent=(0, side, side, 0))
    for edge in range(inner, side, inner):
        panel.axhline(edge, color="#E69F00", linewidth=1.5)
        panel.axvline(edge, color="#E69F00", linewidth=1.5)
    ticks = np.arange(side) + 0.5
    texts = [f"{(step % inner + 0.5) / inner:.2f}" for step in range(side)]
    panel.set_xticks(ticks, texts, rotation=90, fontsize=7)
    panel.set_yticks(ticks, texts, fontsize=7)
    thirds = ", ".join(f"{(n + 0.5) / outer:.2f}" for n in range(outer))
    panel.set(
        xlabel=f"prior's CDF of dimension {order[1]}; from block to block, of dimension {order[3]} ({thirds})",
        ylabel=f"prior's CDF of dimension {order[0]}; from block to block, of dimension {order[2]} ({thirds})",
    )
    figure.suptitle(
        f"SOG, codes of {prior.dimension} dimensions: the four with the most effect, the others from a test image\n"
        f"{images.source}"
    )
    return figure


def _influence(sog: SOGModel, middle: Tensor, steps: int = 12) -> list[int]:
    """Return the dimensions of a code in the order of their effect on the image, the largest first."""
    changes = []
    for dimension in range(sog.prior.dimension):
        codes = np.tile(middle.numpy(), (steps, 1))
        codes[:, dimension] = Gaussian(1).grid(steps)[:, 0]
        changes.append(sog.decode(codes).var(dim=0).sum().item())
    return [int(dimension) for dimension in np.argsort(changes)[::-1]]


def _reconstructions(
    images: Images, reconstructions: dict[str, Tensor], scores: dict[str, dict[str, float | None]]
) -> Figure:
    """Draw Figure 16: test images, and their reconstructions by SOG, the VAE and PCA."""
    count = min(_ROW, len(images.test))
    rows = {"original": images.test[:count]} | {
        name: pictures[:count].numpy().clip(0, 1) for name, pictures in reconstructions.items()
    }
    figure = Figure(figsize=(11, 0.2 + len(rows)), layout="constrained")
    panel = figure.subplots()
    sheet = _tile(np.concatenate(list(rows.values())), len(rows), count)
    _show(panel, sheet, extent=(0, count, len(rows), 0))
    errors = ["", *(f"\nerror {scores[name]['squared_error_a_number']:.4f}" for name in reconstructions)]
    panel.set_yticks(np.arange(len(rows)) + 0.5, [name + error for name, error in zip(rows, errors, strict=True)])
    panel.set_xticks([])
    panel.tick_params(length=0)
    figure.suptitle(f"Test images and their reconstructions, mean squared error a pixel; {images.source}")
    return figure
