"""The ten commands of docs/explore.md, one after the other, on a robomimic file."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import manyways

SMALL = ("--iterations", "150", "--hidden", "32")


def documented_commands():
    text = (Path(__file__).parents[2] / "docs" / "explore.md").read_text().partition("## Ten commands")[2]
    block = re.search(r"((?:^    manyways .*\n)+)", text, re.MULTILINE)[1]
    return [shlex.split(line)[1:] for line in block.splitlines()]


def decide(run, path):
    """Write what a person would download: a name, an exclusion, and a label for another one."""
    page = (run.path / "explore.html").read_text()
    content = json.loads(re.search('<script id="data" type="application/json">(.*?)</script>', page)[1])
    mode = content["modes"][1]
    anchors = {content["ids"][mode["typical"][0]]: 1, content["ids"][content["modes"][0]["typical"][0]]: 0}
    excluded, labelled = (content["ids"][index] for index in mode["typical"][1:3])
    decided = {"names": {"1": "over"}, "exclude": [excluded], "labels": {labelled: 1}, "anchors": anchors}
    path.write_text(json.dumps(decided))
    return decided


@pytest.mark.filterwarnings("ignore")
def test_a_robomimic_user_goes_from_a_file_to_an_exported_policy(tmp_path, monkeypatch, demonstrations, command):
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_arm.py").write_text("from worlds import Line as make\n")
    demonstrations.save("lift.hdf5")
    commands = documented_commands()
    assert len(commands) == 10
    for arguments in commands:
        small = SMALL if arguments[0] == "train" else ()
        if "--edits" in arguments:
            decided = decide(manyways.Run.open(Path("RUN")), Path("edits.json"))
        code, printed, errors = command(*arguments, *small)
        assert code == 0, (arguments, printed, errors)
    run = manyways.Run.open(Path("RUN2"))
    assert run.policy().names == {1: "over"}
    found = json.loads((run.path / "modes.json").read_text())
    assert not set(decided["exclude"]) & set(found["identities"])
    for identity, label in {**decided["labels"], **decided["anchors"]}.items():
        assert found["codes"][found["identities"].index(identity)] == label
    assert [line["codes"] for line in json.loads(Path("comparison.json").read_text())["runs"]] == ["2 codes", "2 codes"]
    assert Path("policy.onnx").stat().st_size > 0
    assert np.isfinite(run.evaluation().codes[0].return_.mean)
