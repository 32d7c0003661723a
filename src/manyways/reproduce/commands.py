"""The commands `manyways reproduce`: arguments to calls, nothing more."""

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from manyways.reproduce.image_data import ImageTask

app = tyro.extras.SubcommandApp()

_optional = tyro.conf.arg(help_behavior_hint="(optional)")


@app.command(name="em-toy")
def em_toy(
    *, out: Path = Path("reproductions/em-toy"), seeds: int = 5, epochs: int = 40, points: int = 2048, seed: int = 0
) -> None:
    """Appendix C: hard against soft EM on three modes of linear data (Figures 9 to 12); a minute.

    Args:
        out: Folder of the figures and results.json.
        seeds: How many data sets and first weights.
        epochs: Of each training.
        points: Of each data set.
        seed: The first of the seeds.
    """
    from manyways.console import counting
    from manyways.reproduce.em_toy import reproduce_em_toy
    from manyways.reproduce.tables import show_em_toy

    with counting("em-toy", 4 * max(0, seeds), "trainings") as count:
        results = reproduce_em_toy(out, seeds=seeds, epochs=epochs, points=points, seed=seed, callback=count)
    show_em_toy(results)
    _written(out)


@app.command(name="posterior-gap")
def posterior_gap(
    *, out: Path = Path("reproductions/posterior-gap"), points: int = 500, epochs: int = 30, seed: int = 0
) -> None:
    """Appendix D: Equation 19 checked where all is closed form, and the contour of h (Figure 13); seconds.

    Args:
        out: Folder of the figures and results.json.
        points: Of the linear-Gaussian models.
        epochs: Of each training.
        seed: Of everything random.
    """
    from manyways.console import counting
    from manyways.reproduce.posterior_gap import reproduce_posterior_gap
    from manyways.reproduce.tables import show_posterior_gap

    with counting("posterior-gap", 4, "parts") as count:
        results = reproduce_posterior_gap(out, points=points, epochs=epochs, seed=seed, callback=count)
    show_posterior_gap(results)
    _written(out)


@app.command
def mnist(
    *,
    out: Path = Path("reproductions/mnist"),
    data: Annotated[Path | None, _optional] = None,
    download: bool = False,
    dimension: int = 2,
    images: int = 4000,
    width: int = 16,
    epochs: int = 20,
    candidates: int = 256,
    seed: int = 0,
) -> None:
    """Appendix F: digits from two numbers, their plane and the codes of test digits (Figure 14); minutes.

    Args:
        out: Folder of the figures and results.json.
        data: Folder of the four IDX files, compressed or not; without it small digits of an installed package are used.
        download: Fetch the real files through scikit-learn.
        dimension: Numbers of a code.
        images: To learn from, at most.
        width: Channels of the generator before its last layer.
        epochs: Of SOG, and of the VAE beside it.
        candidates: Samples of the prior that the search tries, in each block of two numbers.
        seed: Of everything random.
    """
    _images("mnist", out, data, download, dimension, images, 32, width, epochs, candidates, seed)


@app.command(name="fashion-mnist")
def fashion_mnist(
    *,
    out: Path = Path("reproductions/fashion-mnist"),
    data: Annotated[Path | None, _optional] = None,
    download: bool = False,
    dimension: int = 8,
    images: int = 4000,
    width: int = 16,
    epochs: int = 30,
    candidates: int = 16,
    seed: int = 0,
) -> None:
    """Appendix F: clothes from eight numbers, swept in nested blocks (Figure 15); minutes.

    Args:
        out: Folder of the figures and results.json.
        data: Folder of the four IDX files, compressed or not; without it small digits of an installed package are used.
        download: Fetch the real files through scikit-learn.
        dimension: Numbers of a code.
        images: To learn from, at most.
        width: Channels of the generator before its last layer.
        epochs: Of SOG, and of the VAE beside it.
        candidates: Samples of the prior that the search tries, in each block of two numbers.
        seed: Of everything random.
    """
    _images("fashion-mnist", out, data, download, dimension, images, 32, width, epochs, candidates, seed)


@app.command
def celeba(
    *,
    out: Path = Path("reproductions/celeba"),
    data: Annotated[Path | None, _optional] = None,
    dimension: int = 16,
    images: int = 2000,
    size: int = 32,
    width: int = 16,
    epochs: int = 60,
    candidates: int = 16,
    seed: int = 0,
) -> None:
    """Appendix F: faces from sixteen numbers, reconstructions beside originals (Figure 16); minutes.

    Args:
        out: Folder of the figures and results.json.
        data: Folder of photographs (.jpg or .png); without it small faces of an installed package are used.
        dimension: Numbers of a code.
        images: To learn from, at most.
        size: To which photographs are scaled, in pixels.
        width: Channels of the generator before its last layer.
        epochs: Of SOG, and of the VAE beside it.
        candidates: Samples of the prior that the search tries, in each block of two numbers.
        seed: Of everything random.
    """
    _images("celeba", out, data, False, dimension, images, size, width, epochs, candidates, seed)


def _images(
    task: "ImageTask",
    out: Path,
    data: Path | None,
    download: bool,
    dimension: int,
    images: int,
    size: int,
    width: int,
    epochs: int,
    candidates: int,
    seed: int,
) -> None:
    from manyways.console import progress, say
    from manyways.reproduce.images import ImageSettings, reproduce_images
    from manyways.reproduce.tables import show_images

    settings = ImageSettings(
        dimension=dimension,
        images=images,
        size=size,
        width=width,
        epochs=epochs,
        batch_size=128 if images >= 1000 else 32,
        learning_rate=3e-3,
        candidates=candidates,
        local=8,
        refine=6,
        seed=seed,
    )
    with ExitStack() as bars:

        def start(what: str, total: int) -> Any:
            bars.close()  # the bar before it is done
            return bars.enter_context(progress(what, total, ""))

        results = reproduce_images(task, out, settings, data, download=download, said=say, progress=start)
    show_images(results)
    _written(out)


def _written(out: Path) -> None:
    from manyways.console import say

    for path in sorted(out.glob("*.png")):
        say(f"Wrote {shlex.quote(str(path))}")
    say(f"Wrote {shlex.quote(str(out / 'results.json'))}")
