import base64
import io
import json
import re

import numpy as np
import plotly
import pytest
from PIL import Image

import manyways
from manyways.algorithms import get_algorithm
from manyways.evaluation import Evaluation, Switching
from manyways.evaluation.robustness import Disturbed
from manyways.runs import Run, train
from manyways.runs.codes import find_codes
from manyways.tasks import get_task
from manyways.visual import figures
from manyways.visual.report import report
from manyways.visual.trajectories import draw_switching, draw_trajectories


def sog_bc(**changes):
    return manyways.SOGBC(**({"prior": None, "iterations": 30, "hidden": 16} | changes))


@pytest.fixture
def saved(tmp_path, demonstrations, labels):
    demonstrations.save(tmp_path / "my <data>.npz", modes=labels)
    return tmp_path / "my <data>.npz"


def page_of(run, **arguments):
    return report(run, **arguments).read_text()


def charts(page):
    return re.findall(r'<div id="chart-(\w+)"', page)


def outside(page):
    """Return the page without Plotly and its own scripts."""
    return page.replace(plotly.offline.get_plotlyjs(), "")


def pictures(page):
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', outside(page))]


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def test_the_page_of_a_task_has_its_pictures_and_numbers(tmp_path, circles_folder):
    run = train(sog_bc(), tmp_path / "run", data=circles_folder, task="circles", command="manyways train --out run")
    matrix = [[11.5, 1.0, 2.0], [3.0, 4.0, 22.5], [5.0, 33.5, 6.0]]
    evaluation = Evaluation(9, 987.6, 5.4, 998.3, 0.1, [0, 2, 1], matrix)
    run.evaluation_file.write_text(json.dumps(evaluation.to_json()))
    page = page_of(run)
    assert "987.6 ± 5.4" in page
    assert "998.3 ± 0.1" in page
    assert "3 of 3" in page
    assert re.findall(r'class="matched">([\d.]+)<', page) == ["11.5", "22.5", "33.5"]
    assert "purity of the codes" in page
    assert len(pictures(page)) == 1
    assert charts(page) == ["usage", "loss"]


def test_a_task_without_an_expert_has_a_page_without_its_row(tmp_path, circles_folder):
    run = train(sog_bc(), tmp_path / "run", data=circles_folder, task="circles")
    evaluation = Evaluation(9, 987.6, 5.4, None, None, [0, 2, 1], [[1.0] * 3] * 3)
    run.evaluation_file.write_text(json.dumps(evaluation.to_json()))
    page = page_of(run)
    assert "987.6 ± 5.4" in page
    assert "of the expert" not in page


def test_the_page_needs_no_network_and_no_other_file(tmp_path, saved):
    page = page_of(train(sog_bc(), tmp_path / "run", data=saved, modes=2))
    assert not re.search(r"https?:|<script [^i]|<link|url\(", outside(page))
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]{0,20})', outside(page)))


def test_every_chart_is_drawn(tmp_path, saved, tab):
    run = train(sog_bc(segments=True), tmp_path / "run", data=saved, modes="auto")
    last = run.metrics()[-1]
    update = {"return_mean": 1.0, "return/code-0": 1.5, "discriminator_accuracy": 0.7, "code_information": 0.2}
    updates = [last | update | {"iteration": 30 + n, "environment_steps": 100 * n} for n in range(1, 4)]
    with (run.path / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in updates)
    path = report(run)
    names = charts(path.read_text())
    assert names == ["gaps", "votes", "segments", "usage", "loss", "returns", "accuracy", "information"]
    tab.goto(path.as_uri())
    marks = {"gaps": ".barlayer .point", "votes": ".barlayer .point", "segments": ".barlayer .point"}
    for name in names:
        assert tab.locator(f"#chart-{name} {marks.get(name, '.scatterlayer .trace')}").count() > 0, name
    assert tab.evaluate("document.getElementById('chart-loss').data[0].y") == pytest.approx(
        [line["loss"] for line in run.metrics() if "environment_steps" not in line], rel=1e-4
    )


def test_what_was_disturbed_is_on_the_page(tmp_path, circles_folder):
    run = train(sog_bc(), tmp_path / "run", data=circles_folder, task="circles")
    run.evaluation_file.write_text(
        json.dumps(Evaluation(9, 1.0, 1.0, None, None, [0, 2, 1], [[1.0] * 3] * 3).to_json())
    )
    disturbed = Disturbed(0.2, 30, 123.4, 5.6, 0.9, [2, 0, 1], []).to_json()
    switching = {"return_mean": 77.7, "return_std": 8.8, "survived": 0.5, "episodes": 30}
    text = json.dumps({"random_actions": disturbed, "switching": switching})
    (run.path / "robustness.json").write_text(text)
    page = " ".join(page_of(run).split())
    assert "<strong>123.4 ± 5.6</strong> mean return with 20% random actions; 90% of 30 rollouts" in page
    assert "<strong>77.7 ± 8.8</strong> mean return with the code switched through all 3; 50% of 30" in page
    (run.path / "robustness.json").write_text("{}")
    with pytest.raises(manyways.InputError, match="manyways robustness"):
        report(run)


def test_data_without_a_task_gets_a_page_without_rollouts(tmp_path, saved):
    page = page_of(train(sog_bc(), tmp_path / "run", data=saved, modes=2))
    assert "matched mode" not in page
    assert "mean return" not in page
    assert "purity of the codes" in page
    assert charts(page) == ["usage", "loss"]
    assert len(pictures(page)) == 1
    for picture in pictures(page):
        assert len(np.unique(pixels(picture).reshape(-1, 3), axis=0)) > 50  # something is drawn


def test_the_loss_stands_beside_that_of_the_mean_action(tmp_path, saved):
    run = train(sog_bc(iterations=300), tmp_path / "run", data=saved, modes=2)
    assert run.policy().uninformed_loss == pytest.approx(2, rel=0.01)  # two dimensions, each of variance 1
    (share,) = re.findall(r"<strong>([\d.]+)%</strong> of the loss of a policy that always predicts", page_of(run))
    assert float(share) < 20


@pytest.mark.parametrize("algorithm", ["mdn", "bet", "diffusion", "bc"])
def test_a_run_without_codes_gets_its_page(tmp_path, saved, algorithm):
    settings = get_algorithm(algorithm)(iterations=10, hidden=16)
    page = page_of(train(settings, tmp_path / "run", data=saved))
    assert "How" in page
    assert "One policy without codes" in page


def test_a_run_without_codes_on_a_task_shows_which_modes_it_does(tmp_path, circles_folder):
    settings = get_algorithm("mdn")(iterations=10, hidden=16)
    page = page_of(train(settings, tmp_path / "run", data=circles_folder, task="circles"))
    assert "entropy of the rollouts" in page
    assert "R = -10 m" in page


def test_continuous_codes_have_a_colour_bar(tmp_path, saved, demonstrations):
    run = train(sog_bc(), tmp_path / "run", data=saved, code_size=1)
    assert "A range of modes" in page_of(run)
    policy = run.policy()
    figure = draw_trajectories(policy, demonstrations, find_codes(policy, demonstrations, None), None)
    assert [axes.get_ylabel() for axes in figure.axes] == ["second principal component", "the prior's CDF of the code"]


def test_every_command_is_given_to_do_it_again(tmp_path, circles_folder, saved):
    command = f"manyways train sog-bc {circles_folder} --task circles --out run"
    run = train(sog_bc(), tmp_path / "run", data=circles_folder, task="circles", command=command)
    assert commands(page_of(run)) == [
        f"manyways collect circles --episodes 30 --out {circles_folder}",
        command,
        f"manyways modes {run.path}",
        f"manyways evaluate {run.path}",
        f"manyways report {run.path}",
    ]
    own = train(get_algorithm("mdn")(iterations=5, hidden=16), tmp_path / "own", data=saved, command="manyways train x")
    assert commands(page_of(own)) == ["manyways train x", f"manyways report {own.path}"]


def commands(page):
    return re.search('<pre id="again">(.*?)</pre>', page, re.DOTALL)[1].strip().splitlines()


def test_a_number_that_was_counted_is_shown_with_its_evidence(tmp_path, saved):
    run = train(sog_bc(), tmp_path / "run", data=saved, modes="auto")
    counted = run.config["mode_count"]
    page = page_of(run)
    assert f"{counted['best']} modes were counted, {counted['sureness']:.0%} sure; next best" in " ".join(page.split())
    assert charts(page) == ["gaps", "votes", "usage", "loss"]


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (12, 10, 3)])
def test_observations_of_any_size_are_drawn(tmp_path, shape):
    rng = np.random.default_rng(0)
    draw = (lambda: rng.integers(256, size=(9, *shape), dtype=np.uint8)) if len(shape) > 1 else None
    pairs = [(draw() if draw else rng.normal(size=(9, *shape)), rng.normal(size=(9, 1))) for _ in range(9)]
    manyways.Demonstrations.from_arrays(pairs).save(tmp_path / "data.npz")
    run = train(sog_bc(iterations=5), tmp_path / "run", data=tmp_path / "data.npz", modes=9)  # more than named colours
    assert len(pictures(page_of(run))) == 1


def test_dictionaries_and_discrete_actions_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [({"a": rng.normal(size=(9, 2)), "b": rng.normal(size=(9, 3))}, rng.integers(3, size=9)) for _ in range(9)]
    manyways.Demonstrations.from_arrays(pairs).save(tmp_path / "data.npz")
    run = train(sog_bc(iterations=5), tmp_path / "run", data=tmp_path / "data.npz", modes=2)
    page = page_of(run)
    assert len(pictures(page)) == 1
    assert "of the loss of a policy that always predicts the mean" in " ".join(page.split())


def test_what_comes_from_outside_is_escaped(tmp_path, saved):
    command = "manyways train '<script>alert(1)</script>'"
    page = page_of(train(sog_bc(), tmp_path / "run", data=saved, modes=2, command=command))
    assert "<script>alert" not in page
    assert "my &lt;data&gt;" in page


def test_the_legend_of_switched_codes_is_in_the_order_of_the_modes(tmp_path, monkeypatch):
    task = get_task("circles")
    observations = np.zeros((1, 7, 10), np.float32)
    active = np.array([[0, 0, 1, 1, 2, 2]])
    switching = Switching(1, 0.0, 0.0, 1.0, [], [], observations, np.array([6]), active)
    disturbed = Disturbed(0.2, 3, 0.0, 0.0, 1.0, [2, 0, 1], [])
    drawn = {}
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.update(figure=figure))
    config = {"task": "circles", "algorithm": "sog-bc", "settings": {"seed": 0}}
    draw_switching(Run(tmp_path, config), task, disturbed, switching)
    texts = [text.get_text() for text in drawn["figure"].legends[0].get_texts()]
    assert texts == list(task.discrete_modes.names)


def test_rows_of_continuous_codes_bear_their_values_names():
    low, high = np.full(3, -0.15), np.full(3, 0.15)
    rng = np.random.default_rng(0)
    figure = figures.codes_and_modes(
        rng.random((9, 3)), rng.random((9, 3)), rng.random((9, 3)), get_task("fetch-reach").modes.labels, (low, high)
    )
    assert [panel.get_ylabel() for panel in figure.axes][::3] == ["x (m)", "y (m)", "z (m)"]
