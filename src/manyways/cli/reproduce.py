"""The commands `manyways reproduce` of the appendices: arguments to calls, nothing more."""

import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from manyways.cli import paper

if TYPE_CHECKING:
    from manyways.reproduce.image_data import ImageTask

app = tyro.extras.SubcommandApp()

_optional = tyro.conf.arg(help_behavior_hint="(optional)")
_flat = tyro.conf.arg(name="")  # what it holds are options of the command itself

for _command in paper.COMMANDS:
    app.command(_command)


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
    from manyways.cli.console import progress
    from manyways.cli.reproduction_tables import show_em_toy
    from manyways.reproduce.em_toy import reproduce_em_toy

    with progress.section("em-toy", 4 * max(0, seeds), "trainings") as count:
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
    from manyways.cli.console import progress
    from manyways.cli.reproduction_tables import show_posterior_gap
    from manyways.reproduce.posterior_gap import reproduce_posterior_gap

    with progress.section("posterior-gap", 4, "parts") as count:
        results = reproduce_posterior_gap(out, points=points, epochs=epochs, seed=seed, callback=count)
    show_posterior_gap(results)
    _written(out)


@dataclass(frozen=True, kw_only=True)
class _ImageOptions:
    """What the image commands have in common.

    Args:
        out: Folder of the figures and results.json.
        data: Folder of the real files.
        dimension: Numbers of a code.
        images: To learn from, at most.
        width: Channels of the generator before its last layer.
        epochs: Of SOG, and of the VAE beside it.
        candidates: Samples of the prior that the search tries, in each block of two numbers.
        seed: Of everything random.
    """

    out: Path
    data: Annotated[Path | None, _optional] = None
    dimension: int
    images: int
    width: int = 16
    epochs: int
    candidates: int
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Files(_ImageOptions):
    """Images in four files, which can be fetched.

    Args:
        data: Folder of the four IDX files, compressed or not; without it small digits of an installed package are used.
        download: Fetch the real files through scikit-learn.
    """

    data: Annotated[Path | None, _optional] = None
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class _Photographs(_ImageOptions):
    """Images of any size.

    Args:
        data: Folder of photographs (.jpg or .png); without it small faces of an installed package are used.
        size: To which photographs are scaled, in pixels.
    """

    data: Annotated[Path | None, _optional] = None
    size: int = 32


@dataclass(frozen=True, kw_only=True)
class _LongCodes:
    """How codes of more than two dimensions are searched.

    Args:
        search: Near the last code from principal components (local), as Algorithm 4 is printed (coordinate), or both
            beside each other.
    """

    search: Literal["both", "local", "coordinate"] = "both"


@dataclass(frozen=True, kw_only=True)
class _Clothes(_Files, _LongCodes):
    """Fashion-MNIST's."""


@dataclass(frozen=True, kw_only=True)
class _Faces(_Photographs, _LongCodes):
    """CelebA's."""


_MNIST = _Files(out=Path("reproductions/mnist"), dimension=2, images=4000, epochs=20, candidates=256)
_FASHION = _Clothes(out=Path("reproductions/fashion-mnist"), dimension=8, images=4000, epochs=30, candidates=16)
_CELEBA = _Faces(out=Path("reproductions/celeba"), dimension=16, images=2000, epochs=60, candidates=16)


@app.command
def mnist(chosen: Annotated[_Files, _flat] = _MNIST) -> None:
    """Appendix F: digits from two numbers, their plane and the codes of test digits (Figure 14); minutes."""
    _images("mnist", chosen, download=chosen.download)


@app.command(name="fashion-mnist")
def fashion_mnist(chosen: Annotated[_Clothes, _flat] = _FASHION) -> None:
    """Appendix F: clothes from eight numbers, swept in nested blocks (Figure 15); minutes."""
    _images("fashion-mnist", chosen, download=chosen.download)


@app.command
def celeba(chosen: Annotated[_Faces, _flat] = _CELEBA) -> None:
    """Appendix F: faces from sixteen numbers, reconstructions beside originals (Figure 16); minutes."""
    _images("celeba", chosen, size=chosen.size)


def _images(task: "ImageTask", chosen: _ImageOptions, *, download: bool = False, size: int = 32) -> None:
    from manyways.cli.console import progress, say
    from manyways.cli.reproduction_tables import show_images
    from manyways.reproduce.images import ImageSettings, reproduce_images

    settings = ImageSettings(
        dimension=chosen.dimension,
        images=chosen.images,
        size=size,
        width=chosen.width,
        epochs=chosen.epochs,
        batch_size=128 if chosen.images >= 1000 else 32,
        learning_rate=3e-3,
        candidates=chosen.candidates,
        local=8,
        refine=6 if chosen.dimension <= 2 else 40,
        seed=chosen.seed,
        ways=chosen.search if isinstance(chosen, _LongCodes) else "local",
    )
    with ExitStack() as bars:

        def start(what: str, total: int) -> Any:
            bars.close()  # the bar before it is done
            return bars.enter_context(progress.section(what, total))

        results = reproduce_images(task, chosen.out, settings, chosen.data, download=download, say=say, progress=start)
    show_images(results)
    _written(chosen.out)


def _written(out: Path) -> None:
    from manyways.cli.console import say

    for path in sorted(out.glob("*.png")):
        say(f"Wrote {shlex.quote(str(path))}")
    say(f"Wrote {shlex.quote(str(out / 'results.json'))}")
