import base64
import re

import pytest

from manyways.files import read_json, write_bytes, write_json
from manyways.reproduce.claims import of_appendix
from manyways.reproduce.records import Records
from manyways.reproduce.report import all_claims, cost_cells
from manyways.reproduce.tables import cells

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def write(folder, task, label, seed, **values):
    result = {"task": task, "algorithm": label.removesuffix("-paper"), "seed": seed, "episodes": 100, "return_std": 1.0}
    result |= {"return_mean": 90.0, "expert_return_mean": 100.0, "assignment": [0]}
    result |= {"environment_steps": 500_000, "wall_seconds": 1800, "evaluation_seconds": 360} | values
    write_json(folder / task / label / f"seed-{seed}.json", result)


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        write(tmp_path, "circles", "sog-bc", seed, return_mean=99.0 + seed)
        write(tmp_path, "circles", "infogail", seed, return_mean=50.0)
        write(tmp_path, "fetch-reach", "infogail", seed, hit_rate=0.5, entropy_nats=0.2)
        write(tmp_path, "fetch-reach", "expert", seed, hit_rate=1.0, entropy_nats=2.0 + seed)
        write(tmp_path, "halfcheetah-vel", "vae-gail", seed, embedded_mutual_information_nats=0.9)
    return tmp_path


def line(name, folder, task, row):
    head, *lines = cells(name, Records(folder))
    return dict(zip(head, next(each for each in lines if each[:2] == [task, row]), strict=True))


def test_a_row_stands_beside_the_papers(folder):
    row = line("table1", folder, "Circles", "sog-bc")
    assert row["return"] == "100.5 ± 1.3"
    assert (row["of the expert's"], row["of its expert's"]) == ("1.005", "0.994")
    assert (row["verdict"], row["seeds"]) == ("at or above", "4 of 4 †")
    assert line("table1", folder, "Circles", "infogail")["verdict"] == "below"
    missing = line("table1", folder, "Circles", "vae-gail")
    assert (missing["return"], missing["verdict"], missing["seeds"]) == ("", "not measured", "0 of 4")


def test_the_expert_of_table_2_is_what_it_reaches_and_infogail_hits_nothing(folder):
    head, *lines = cells("table2", Records(folder))
    own = next(each for each in lines if each[1] == "infogail")
    assert own[head.index("goals hit")] == ""
    assert own[head.index("entropy (nats)") + 1] == "0.057"  # 0.2 of 3.5
    assert line("table3", folder, "HalfCheetah-Vel", "vae-gail")["mutual information (nats)"] == "0.900 ± 0.000"


def test_claims_have_verdicts(folder):
    found = {(each.where, each.measure): each.verdict for each in all_claims(folder)}
    assert found["Figure 1", "share of the expert's return: SOG-BC less InfoGAIL, by task and seed"] == "holds"
    assert found["Figure 1", "share of the expert's return: SOG-BC less VAE-GAIL, by task and seed"] == "not measured"
    runs = {
        name: [{"loss_by_epoch": [9.0, 9.0, last + seed, last]} for seed in (0.0, 0.1, 0.2)] for name, last in LOSSES
    }
    assert [each.verdict for each in of_appendix(runs)] == ["holds", "holds"]
    assert [each.verdict for each in of_appendix(runs | {"em-1": runs["sog"]})] == ["does not hold"] * 2


LOSSES = (("sog", 1.0), ("em-1", 2.0))


def test_the_cost_is_added_up(folder):
    head, *lines = cost_cells(Records(folder))
    assert ["table1", "sog-bc", "4", "2,000,000", "2.00", "0.40"] in lines
    assert len(head) == 6


def test_the_page_needs_no_network(folder, tmp_path, command):
    write_bytes(folder / "figures" / "figure-3.png", PIXEL)
    write_json(folder / "figures" / "figure-3.json", {"missing": ["manyways reproduce table2 --seeds 0"]})
    code, printed, _ = command("reproduce", "report", "--results", folder)
    assert code == 0
    page = (folder / "report.html").read_text()
    assert str(folder / "report.html") in printed
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("data:image/png;base64,") == 1
    assert "manyways reproduce table2 --seeds 0" in page
    assert "manyways reproduce figures --only 4" in page
    assert '<td class="good">holds</td>' in page
    assert len(read_json(folder / "table1.json")["rows"]) == 7 * 6 + 2
    code, _, error = command("reproduce", "report", "--results", tmp_path / "nowhere")
    assert code == 2
    assert "there is no folder" in error
