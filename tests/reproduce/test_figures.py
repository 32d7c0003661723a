import numpy as np
import pytest
from PIL import Image

import manyways
from manyways import InputError
from manyways.files import read_json, write_json
from manyways.reproduce import claims, figures
from manyways.reproduce.claims import Estimate, Results, claim, correlation, difference, mean, shares, slope
from manyways.reproduce.figures import draw
from manyways.reproduce.paper import WEIGHTS
from manyways.reproduce.records import Records
from manyways.tasks import get_task
from manyways.tasks.collect import collect


def test_intervals_are_those_of_the_textbook():
    found = mean([1.0, 2.0, 3.0])  # t of 2 degrees of freedom is 4.303
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / np.sqrt(3), 2 + 4.303 / np.sqrt(3)), abs=1e-3)
    apart = difference([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])
    assert (apart.value, apart.high - apart.low) == pytest.approx((1.0, 2 * 2.776 * np.sqrt(2 / 3)), abs=1e-3)
    # Newcombe (1998), 56 of 70 against 48 of 80.
    found = shares((56 / 70, 70), (48 / 80, 80))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=1e-3)
    assert mean([1.0, 2.0]) is None
    assert difference([1.0], [1.0, 2.0]) is None
    assert shares((0.0, 0), (1.0, 3)) is None


def test_a_claim_holds_only_where_the_whole_interval_is_above_zero():
    assert claim(1, "", "", Estimate(1, 0.1, 2, 4)).verdict == "holds"
    assert claim(1, "", "", Estimate(1, -0.1, 2, 4)).verdict == "does not hold"
    assert claim(1, "", "", None).verdict == "not measured"


def test_a_correlation_is_found_and_none_is_not():
    rng = np.random.default_rng(0)
    x, groups = rng.normal(size=200), np.repeat(np.arange(20), 10)
    assert correlation(x, x + 0.1 * rng.normal(size=200), groups).low > 0.9
    free = correlation(x, rng.normal(size=200), groups)
    assert free.low < 0 < free.high


def swept(folder, task, of_weight, seeds=4, disturbed_of=None):
    """Write results of SOG-GAIL whose return is a function of λ_S, and as many of SOG-BC."""
    rng = np.random.default_rng(0)
    rows = {w: "sog-gail" if w == 1 else f"sog-gail-lambda-{w:g}" for w in WEIGHTS} | {None: "sog-bc"}
    for weight, label in rows.items():
        for seed in range(seeds):
            noise = rng.normal()
            result = {"task": task, "algorithm": label.split("-lambda")[0], "seed": seed, "episodes": 100}
            result |= {"return_mean": 90 + noise, "return_std": 1.0, "expert_return_mean": 100.0, "assignment": [0]}
            result |= {"environment_steps": 1_000_000, "wall_seconds": 1.0}
            result["random_actions"] = {"return_mean": of_weight(weight or 1.0) + noise}
            write_json(folder / task / label / f"seed-{seed}.json", result)


def test_figure_7_says_what_random_actions_do(tmp_path):
    swept(tmp_path, "circles", lambda weight: 50 - 10 * np.log10(weight))
    swept(tmp_path, "ant-dir-6", lambda weight: 50.0)
    drawn = draw(7, tmp_path, tmp_path / "runs")
    verdicts = {each.measure: each.verdict for each in drawn.claims}
    assert verdicts["circles: fall of the disturbed share of the expert, λ_S tenfold"] == "holds"
    assert verdicts["ant-dir-6: fall of the disturbed share of the expert, λ_S tenfold"] == "does not hold"
    assert slope(claims.sweep(Results(Records(tmp_path)), "circles", claims.disturbed)).value == pytest.approx(
        -0.1, abs=0.02
    )
    picture, numbers = drawn.write(tmp_path / "out")
    assert Image.open(picture).format == "PNG"
    *_, command = read_json(numbers)["missing"]  # finished tasks are not in it
    assert command.startswith("manyways reproduce figure7 --tasks halfcheetah-fwd-back walker2d-vel-6 --algorithms ")
    assert command.endswith("sog-gail-lambda-0.5 --seeds 0")


def test_without_runs_a_figure_says_what_would_make_them(tmp_path, command):
    swept(tmp_path, "ant-dir-6", lambda weight: 1.0, seeds=1)
    code, printed, _ = command("reproduce", "figures", "--only", 6, "--results", tmp_path, "--runs", tmp_path / "runs")
    assert code == 0
    assert not (tmp_path / "figures" / "figure-6.png").exists()
    found = read_json(tmp_path / "figures" / "figure-6.json")
    assert found["picture"] is None
    # The results are there, so only the runs are made again.
    wanted = f"manyways train sog-bc --task ant-dir-6 --seed 0 --out {tmp_path}/runs/ant-dir-6/sog-bc/seed-0"
    assert wanted in found["missing"]
    assert wanted in printed
    assert {each["verdict"] for each in found["claims"]} == {"not measured"}
    with pytest.raises(InputError, match="there is no figure 8 here; give some of 1, 2"):
        draw(8, tmp_path, tmp_path)


def test_figures_3_and_4_are_drawn_from_a_run(tmp_path, monkeypatch):
    pytest.importorskip("gymnasium_robotics")
    for name, few in (("_LINES", 2), ("_POINTS", 6), ("_ARMS", 4)):
        monkeypatch.setattr(figures, name, few)
    collect(get_task("fetch-reach"), 24, tmp_path / "data", seed=0)
    run = tmp_path / "runs" / "fetch-reach" / "sog-bc" / "seed-0"
    settings = manyways.SOGBC(iterations=80, hidden=64)
    manyways.train(settings, run, data=tmp_path / "data", task="fetch-reach", loggers=())
    reach, ends = (draw(number, tmp_path / "results", tmp_path / "runs") for number in (3, 4))
    assert [panel.get_title() for panel in reach.figure.axes] == [
        "expert",
        "SOG-BC, embedded",
        "SOG-BC, codes of the prior",
    ]
    assert len(reach.missing) == 1
    assert [len(panel.lines) for panel in ends.figure.axes] == [4, 4, 4]
    assert ends.claims[0].verdict == "holds"
    assert ends.missing == []


def test_figure_1_has_a_panel_for_each_policy(tmp_path, circles_folder):
    run = tmp_path / "runs" / "circles" / "sog-bc" / "seed-0"
    manyways.train(manyways.SOGBC(iterations=3), run, data=circles_folder, task="circles", loggers=())
    policy = manyways.Run.open(run).policy()
    policy.save(Records(tmp_path / "results").policy("circles", "vae-gail"))  # beside the results, without a run
    drawn = draw(1, tmp_path / "results", tmp_path / "runs")
    axes = drawn.figure.axes
    assert [axes[place].get_title() for place in range(4)] == ["SOG-BC", "SOG-GAIL", "InfoGAIL", "VAE-GAIL"]
    assert [len(panel.lines) for panel in axes] == [3, 0, 0, 3] + 12 * [0]
