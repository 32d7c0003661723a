import base64
import re

import numpy as np
import pytest
from PIL import Image

import manyways
from manyways.evaluation import Evaluation
from manyways.runs.run import Run
from manyways.tasks import get_task
from manyways.visual.report import write_report


def run_of(tmp_path, demonstrations, codes, task=None, command="manyways train --out run", counted=None):
    settings = manyways.SOGBC(prior=manyways.Categorical(codes), iterations=30, hidden=16)
    run = Run.create(
        tmp_path / "run", settings, demonstrations, task=task, data="my <data>", command=command, mode_count=counted
    )
    run.train(settings.start(demonstrations))
    return run


def pictures(page):
    return [base64.b64decode(data) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def test_the_page_of_a_task_has_its_pictures_and_numbers(tmp_path, circles_folder):
    demonstrations = manyways.Demonstrations.load(circles_folder)
    run = run_of(tmp_path, demonstrations, 3, task="circles")
    matrix = [[11.5, 1.0, 2.0], [3.0, 4.0, 22.5], [5.0, 33.5, 6.0]]
    evaluation = Evaluation(9, 987.6, 5.4, 998.3, 0.1, [0, 2, 1], matrix)
    labels = manyways.load_modes(circles_folder)
    page = write_report(run, demonstrations, labels, get_task("circles"), evaluation).read_text()
    assert "987.6 ± 5.4" in page
    assert "998.3 ± 0.1" in page
    assert "3 of 3" in page
    assert re.findall(r'class="matched">([\d.]+)<', page) == ["11.5", "22.5", "33.5"]
    assert "manyways train --out run" in page
    assert "purity of the codes" in page
    assert len(pictures(page)) == 3


def test_the_page_needs_no_network_and_no_other_file(tmp_path, demonstrations):
    page = write_report(run_of(tmp_path, demonstrations, 2), demonstrations, None, None, None).read_text()
    assert not re.search(r"https?:|<script|<link|url\(", page)
    assert all(source.startswith("data:") for source in re.findall(r'src="([^"]{0,20})', page))


def test_data_without_a_task_gets_a_page_without_rollouts(tmp_path, demonstrations, labels):
    run = run_of(tmp_path, demonstrations, 2)
    page = write_report(run, demonstrations, labels, None, None).read_text()
    assert "matched mode" not in page
    assert "mean return" not in page
    for name, data in zip(("trajectories", "usage", "loss"), pictures(page), strict=True):
        (tmp_path / name).write_bytes(data)
        picture = np.asarray(Image.open(tmp_path / name).convert("RGB"))
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50  # something is drawn


def test_a_number_that_was_counted_is_shown_with_its_evidence(tmp_path, demonstrations):
    counted = manyways.count_modes(demonstrations)
    run = run_of(tmp_path, demonstrations, counted.best, counted=counted.to_json())
    page = write_report(run, demonstrations, None, None, None).read_text()
    assert f"{counted.best} ways were counted, {counted.sureness:.0%} sure; next best" in page
    assert len(pictures(page)) == 4


@pytest.mark.parametrize("size", [1, 2, 5])
def test_observations_of_any_size_are_drawn(tmp_path, size):
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(9, size)), rng.normal(size=(9, 1))) for _ in range(9)]
    demonstrations = manyways.Demonstrations.from_arrays(pairs)
    run = run_of(tmp_path, demonstrations, 9)  # more codes than named colours
    assert len(pictures(write_report(run, demonstrations, None, None, None).read_text())) == 3


def test_what_comes_from_outside_is_escaped(tmp_path, demonstrations):
    run = run_of(tmp_path, demonstrations, 2, command="manyways train --data '<script>alert(1)</script>'")
    page = write_report(run, demonstrations, None, None, None).read_text()
    assert "<script>" not in page
    assert "my &lt;data&gt;" in page
