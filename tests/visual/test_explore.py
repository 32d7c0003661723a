import http.client
import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly
import pytest

import manyways
from manyways.demonstrations import summarise
from manyways.runs.codes import find_codes
from manyways.runs.progress import Progress
from manyways.visual.contents import contents
from manyways.visual.report import explore, page, report
from manyways.visual.serving import Server

EVIL = '</script><script>document.title = "run"</script><b>'


def dressed(demonstrations):
    """Return the demonstrations with names from outside, of which one would be a script."""
    identities = [f"demo_{place}" for place in range(len(demonstrations))]
    identities[1] = EVIL
    return replace(
        demonstrations,
        names={"observations": ("x", "y", EVIL), "actions": ("push", "turn")},
        identities=tuple(identities),
        attributes={"operator": np.array(["ann", EVIL] * 12), "speed": np.arange(24.0)},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, demonstrations):
    folder = tmp_path_factory.mktemp("explored")
    dressed(demonstrations).save(folder / "demo.parquet")
    settings = manyways.SOGBC(iterations=60, hidden=16)
    command = f"manyways train {folder / 'demo.parquet'} --modes 2 --out {folder / 'run'}"
    return manyways.train(settings, folder / "run", data=folder / "demo.parquet", modes=2, command=command)


def content_of(text):
    return json.loads(re.search('<script id="data" type="application/json">(.*?)</script>', text)[1])


def test_the_page_holds_all_it_needs_and_nothing_can_break_out_of_it(run):
    text = page(run)
    outside = text.replace(plotly.offline.get_plotlyjs(), "")
    assert not re.search(r"<link|src=|url\(|@import", outside)
    assert len(re.findall("<script", outside)) == len(re.findall("</script", outside)) == 5
    found = content_of(text)
    assert found["ids"][1] == EVIL
    assert found["columns"][:3] == ["observation.x", "observation.y", f"observation.{EVIL}"]
    assert found["columns"][3:] == ["action.push", "action.turn", "component 1", "component 2", "component 3"]


def test_numbers_are_those_of_the_data(run, demonstrations):
    found = content_of(page(run))
    data, codes = dressed(demonstrations), manyways.modes(run)
    assert found["codes"] == codes.codes.tolist()
    assert found["losses"] == pytest.approx(codes.losses.min(axis=1), rel=1e-4)
    assert found["margins"] == pytest.approx(np.abs(np.diff(codes.losses, axis=1))[:, 0], rel=1e-4)
    assert found["drawn"] == list(range(24))
    assert len(found["steps"]) == found["ends"][-1] == data.steps
    assert found["attributes"]["speed"] == list(range(24))
    mode = found["modes"][found["codes"][0]]
    assert "push" in mode["words"][0]
    order = np.argsort(codes.losses.min(axis=1), kind="stable")
    assert mode["typical"] == [int(i) for i in order if codes.codes[i] == codes.codes[0]][:5]
    assert found["low"][3] == pytest.approx(data.actions[:, 0].min())
    assert found["high"][3] == pytest.approx(data.actions[:, 0].max())


def test_of_many_demonstrations_some_are_drawn(policy, demonstrations):
    many = manyways.Demonstrations.concatenate([demonstrations] * 20)
    found = contents(policy, many, find_codes(policy, many, None))
    assert len(found["ids"]) == 480
    assert len(found["drawn"]) == 400
    assert {place for mode in found["modes"] for place in mode["typical"] + mode["worst"]} <= set(found["drawn"])
    assert {suspect[0] for suspect in found["suspects"]} <= set(found["drawn"])
    assert found["suspects_in_all"] > len(found["suspects"])  # copies
    long = manyways.Demonstrations.from_arrays([(np.arange(5000.0)[:, None], np.ones((5000, 1)))] * 2)
    policy = manyways.SOGBC(prior=manyways.Gaussian(1), iterations=3, hidden=8).fit(long)
    found = contents(policy, long, find_codes(policy, long, None))
    assert found["sampled"]
    assert found["ends"] == [160, 320]
    assert len(found["coordinates"]) == 1


@pytest.mark.parametrize("kind", ["dictionary", "image"])
def test_observations_of_any_kind_can_be_chosen(kind):
    rng = np.random.default_rng(0)
    draw = {
        "dictionary": lambda: {"a": rng.normal(size=(9, 2)), "b": rng.normal(size=(9, 1))},
        "image": lambda: rng.integers(256, size=(9, 12, 10, 3), dtype=np.uint8),
    }[kind]
    data = manyways.Demonstrations.from_arrays([(draw(), rng.integers(3, size=9)) for _ in range(9)])
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=3, hidden=8).fit(data)
    found = contents(policy, data, find_codes(policy, data, None))
    assert found["acted"] == 3
    assert len(set(found["axes"])) == 2
    assert found["observed"] + found["acted"] + found["left_out"] == (6 if kind == "dictionary" else 195)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "edits.json"), ('{"anchors": {"demo_0": 7}}', "numbers the modes otherwise")]
)
def test_saved_edits_that_do_not_fit_are_left_aside(run, text, message):
    class Told(Progress):
        def warn(self, text):
            warned.append(text)

    warned = []
    (run.path / "edits.json").write_text(text)
    found = content_of(page(run, progress=Told()))
    (run.path / "edits.json").unlink()
    assert found["edits"]["exclude"] == []
    assert message in warned[0]


def test_the_command_explores_runs_and_demonstrations(run, tmp_path, command, monkeypatch):
    code, printed, _ = command("explore", run.path)
    assert code == 0
    assert f"open {run.path / 'explore.html'} in a browser" in printed
    data = run.config["data"]
    code, _, errors = command("explore", data, "--modes", 2, "--iterations", 5, "--out", tmp_path / "new")
    assert code == 0, errors
    assert content_of((tmp_path / "new" / "explore.html").read_text())["command"][:2] == ["manyways", "train"]
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time the run is there
        assert command("explore", data, "--modes", 2, "--iterations", 5)[0] == 0
        assert (tmp_path / "runs" / Path(data).name.partition(".")[0] / "explore.html").exists()
    for arguments, message in (
        ((data, "--modes", 3), "give another folder"),
        ((run.path, "--modes", 2), "is a run already"),
        ((run.path, "--serve", "--port", 99999), "the port is 99999"),
        (("nowhere", "--out", tmp_path / "x"), "nowhere is no file"),
    ):
        code, _, errors = command("explore", *arguments)
        assert code == 2
        assert message in errors
    without = manyways.train(manyways.MDN(iterations=3, hidden=8), tmp_path / "mdn", data=data)
    assert command("explore", without.path)[0] == 0
    code, _, errors = command("explore", without.path, "--serve", "--env", "CartPole-v1")
    assert code == 2
    assert "has no codes" in errors


@pytest.fixture
def server(run):
    with Server(run) as served:
        thread = threading.Thread(target=served.run)
        thread.start()
        yield served
        served.close()
        thread.join()
    (run.path / "edits.json").unlink(missing_ok=True)


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_server_answers_only_who_has_the_token(server, run):
    token = f"token={server.token}"
    assert ask(server, "GET", "/")[0] == ask(server, "GET", "/?token=x")[0] == 403
    assert ask(server, "GET", f"/?{token}", Host="elsewhere.example")[0] == 403
    assert ask(server, "POST", "/edits.json", "{}")[0] == 403
    assert not (run.path / "edits.json").exists()
    assert content_of(ask(server, "GET", f"/?{token}")[1])["served"]
    assert ask(server, "GET", f"/config.json?{token}")[0] == 404
    assert ask(server, "POST", f"/other?{token}", "{}")[0] == 400


def test_the_server_saves_edits_and_no_other_files(server, run):
    address = f"/edits.json?token={server.token}"
    refused = [('{"exclude": 3}', "must be a list"), ("{", "Not saved"), ("\xff", "Not saved")]
    refused += [('{"names": {"0": "a", "1": "a"}}', "has the name"), ('{"names": {"0": "7"}}', "a name with a letter")]
    for body, message in refused:
        status, text = ask(server, "POST", address, body.encode("latin1"))
        assert status == 400
        assert message in text
    assert not (run.path / "edits.json").exists()
    assert ask(server, "POST", address, '{"names": {"0": "over"}}')[0] == 200
    assert json.loads((run.path / "edits.json").read_text())["names"] == {"0": "over"}


def click_line(tab, index):
    """Click on the middle of a drawn demonstration."""
    place = """index => {
        const plot = document.getElementById("plot"), box = plot.getBoundingClientRect();
        const pixels = (name, axis) => axis._offset + axis.l2p(values(+document.getElementById(name).value, index)[5]);
        const {xaxis, yaxis} = plot._fullLayout;
        return [box.left + pixels("x", xaxis), box.top + pixels("y", yaxis)];
    }"""
    tab.locator("#plot").scroll_into_view_if_needed()
    x, y = tab.evaluate(place, index)
    tab.mouse.move(x, y, steps=3)
    tab.wait_for_selector("#plot .hoverlayer .hovertext")
    hovered = tab.text_content("#plot .hoverlayer .hovertext")
    tab.mouse.click(x, y)
    tab.wait_for_selector("#one-body", state="visible")
    return hovered


def saved(tab):
    with tab.expect_download() as download:
        tab.click("#download")
    return json.loads(open(download.value.path()).read())


def test_a_person_looks_names_excludes_and_exports(run, tab):
    tab.goto(explore(run).as_uri())
    hovered = click_line(tab, 7)
    title = tab.text_content("#one-title")
    assert title in hovered or "…" in hovered  # lines may cross there, but both tell of the same one
    assert tab.locator("#time .trace, #time path.js-line").count() > 0
    tab.click("#modes .card:first-child button[data-demonstration] >> nth=0")
    tab.click("#one-exclude")
    first = tab.text_content("#one-title")
    tab.fill("input[data-code='0']", EVIL[:20])
    tab.press("input[data-code='0']", "Enter")
    tab.fill("input[data-code='1']", "12")
    tab.press("input[data-code='1']", "Enter")
    codes = content_of(page(run))["codes"]
    other = next(place for place in range(23, 0, -1) if codes[place] == 1 and f"demo_{place}" != first)
    tab.evaluate("index => choose(index)", other)
    tab.select_option("#one-mode", "0")
    found = saved(tab)
    assert found["names"] == {"0": EVIL[:20]}  # a number is no name
    assert found["exclude"] == [first]
    assert found["labels"] == {f"demo_{other}": 0}
    assert set(found["anchors"].values()) == {0, 1}
    assert not {first, f"demo_{other}"} & set(found["anchors"])
    manyways.Edits.read(found).require_codes(2)
    assert "--edits edits.json" in tab.text_content("#command")
    assert tab.title() == f"manyways · {run.title}"  # no script of the data has run


@pytest.mark.parametrize("words", ["--modes=2 --out=here/", "--init before --out here"])
def test_the_command_follows_a_split(run, tab, words, monkeypatch):
    monkeypatch.setitem(run.config["provenance"], "command", f"manyways train demo.parquet {words}")
    tab.set_content(page(run))
    half = content_of(page(run))["modes"][0]["half"]
    tab.click(f"text=Split off {len(half)} >> nth=0")
    expected = "manyways train demo.parquet --modes 3 --edits edits.json --out here-2"
    assert tab.text_content("#command") == expected


def test_the_command_of_a_single_code_stays(run, tmp_path, tab):
    settings, data = manyways.SOGBC(iterations=3, hidden=8), run.config["data"]
    command = f"manyways train {data} --modes 1 --out {tmp_path / 'one'}"
    tab.set_content(page(manyways.train(settings, tmp_path / "one", data=data, modes=1, command=command)))
    assert tab.text_content("#command") == f"manyways train {data} --modes 1 --edits edits.json --out {tmp_path}/one-2"


def test_merged_modes_are_numbered_anew(run, tab):
    tab.goto(explore(run).as_uri())
    tab.select_option("#modes .card:first-child select", "1")
    found = saved(tab)
    assert set(found["labels"].values()) == {0}
    assert len(found["labels"]) == content_of(page(run))["codes"].count(0)
    assert "--modes 1" in tab.text_content("#command")


@pytest.mark.parametrize("width", [1366, 390])
def test_every_choice_is_drawn_and_nothing_overflows(run, tab, width):
    tab.set_viewport_size({"width": width, "height": 844})
    tab.goto(explore(run).as_uri())
    for choice in tab.locator("#colour option").evaluate_all("all => all.map(each => each.value)"):
        tab.select_option("#colour", choice)
        assert tab.locator("#plot .scatterlayer .trace").count() > 0
    for choice in ("actions", "observations", "2"):
        tab.evaluate("choose(1)")
        tab.select_option("#series", choice)
        tab.wait_for_selector("#time .scatterlayer .trace")
    tab.wait_for_timeout(300)
    buttons = tab.locator(".modebar-btn").evaluate_all("all => all.map(each => each.dataset.title)")
    assert set(buttons) <= {"Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes"}  # nothing that uploads
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_saves_into_the_runs_folder(run, server, tab):
    tab.goto(server.address)
    tab.fill("input[data-code='1']", "over")
    tab.press("input[data-code='1']", "Enter")
    tab.click("#save")
    tab.wait_for_function("document.getElementById('saved').textContent.startsWith('saved as')")
    assert json.loads((run.path / "edits.json").read_text())["names"] == {"1": "over"}
    assert f"--edits {run.path / 'edits.json'}" in tab.text_content("#command")
    tab.reload()  # which begins with what was saved
    assert tab.input_value("input[data-code='1']") == "over"
    tab.goto(explore(run).as_uri())
    assert tab.input_value("input[data-code='1']") == "over"
    assert saved(tab)["names"] == {"1": "over"}


def test_two_demonstrations_are_compared(run, tab):
    ids = content_of(page(run))["ids"]
    tab.goto(explore(run).as_uri())
    for one, other, what in ((0, 1, "same"), (1, 2, "different")):
        tab.evaluate("index => choose(index)", one)
        tab.click("#one-hold")
        tab.evaluate("index => choose(index)", other)
        tab.click(f"#one-{what}")
    found = saved(tab)
    assert found["same"] == [[ids[0], ids[1]]]
    assert found["different"] == [[ids[1], ids[2]]]
    (run.path / "edits.json").write_text(json.dumps(found))
    try:
        tab.goto(explore(run).as_uri())
        assert saved(tab) == found
    finally:
        (run.path / "edits.json").unlink()


def compare(tab, one, other, what):
    tab.evaluate("index => choose(index)", one)
    tab.click("#one-hold")
    tab.evaluate("index => choose(index)", other)
    tab.click(f"#one-{what}")


def test_decisions_that_contradict_each_other_are_told_when_they_are_made_and_not_saved(run, server, tab):
    codes, ids = content_of(page(run))["codes"], content_of(page(run))["ids"]
    one, two, three = [place for place, code in enumerate(codes) if code == 0 and place != 1][:3]
    other = codes.index(1, 2)
    tab.goto(server.address)

    def relabel(index, code):
        tab.evaluate("index => choose(index)", index)
        tab.select_option("#one-mode", str(code))

    def both():
        assert tab.text_content("#one-clash") == tab.text_content("#clash")
        return tab.text_content("#clash")

    compare(tab, one, other, "same")
    relabel(one, 1)
    assert both() == ""
    relabel(other, 0)
    assert both() == (
        f"{ids[one]} and {ids[other]} are the same way by your pairs, but you gave them the modes code 1 and code 0; "
        "change one of these decisions."
    )
    tab.click("#save")
    assert tab.text_content("#saved").startswith(f"Not saved: {ids[one]} and {ids[other]}")
    tab.click("#download")
    assert tab.text_content("#saved").startswith("Not downloaded")
    assert not (run.path / "edits.json").exists()
    relabel(other, 1)  # its own
    assert both() == ""
    compare(tab, two, one, "same")
    compare(tab, two, other, "different")
    assert "but the same way by your other pairs; remove one of these pairs." in both()
    tab.click("#edits li:last-child button:last-child")
    assert both() == ""
    relabel(three, 1)
    assert both() == ""
    compare(tab, two, three, "different")
    assert both() == (
        f"{ids[two]} is another way than {ids[three]}, but you gave both the mode code 1, if through pairs; "
        "change one of these decisions."
    )
    tab.click("#edits li:last-child button:last-child")
    tab.click("#save")
    tab.wait_for_function("document.getElementById('saved').textContent.startsWith('saved as')")


def test_who_is_relabelled_or_in_a_pair_is_no_anchor(run, tab):
    found = content_of(page(run))
    first, second = (found["modes"][0]["typical"][place] for place in (0, 1))
    other = found["modes"][1]["typical"][0]
    tab.goto(explore(run).as_uri())
    tab.fill("input[data-code='0']", "over")
    tab.press("input[data-code='0']", "Enter")
    assert {found["ids"][place] for place in (first, second, other)} <= set(saved(tab)["anchors"])
    tab.evaluate("index => choose(index)", first)
    tab.select_option("#one-mode", "1")
    compare(tab, second, other, "same")
    edits = saved(tab)
    assert edits["labels"] == {found["ids"][first]: 1}
    assert not {found["ids"][place] for place in (first, second, other)} & set(edits["anchors"])
    assert set(edits["anchors"].values()) == {0, 1}
    assert manyways.Edits.read(edits).overruled == []


def test_the_hover_box_goes_after_a_tap(run, browser):
    tab = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tab.goto(explore(run).as_uri())
    tab.evaluate("Plotly.Fx.hover('plot', [{ curveNumber: 0, pointNumber: 5 }])")
    tab.wait_for_selector("#plot .hoverlayer .hovertext")
    tab.evaluate("choose(7)")
    tab.click("#one-close")
    assert tab.locator("#plot .hoverlayer .hovertext").count() == 0
    buttons, legend = (tab.locator(f"#plot {each}").bounding_box() for each in (".modebar", ".legend"))
    assert legend["y"] >= buttons["y"] + buttons["height"]
    tab.close()


def test_what_is_true_or_false_of_demonstrations_is_said_in_words(policy, demonstrations):
    masks = {"mask valid": np.arange(len(demonstrations)) < 3}
    known = replace(demonstrations, attributes=masks)
    found = contents(policy, known, find_codes(policy, known, None))["attributes"]["mask valid"]
    assert found == ["True"] * 3 + ["False"] * (len(demonstrations) - 3)
    assert set(summarise(known).attributes["mask valid"]) == set(found)


def test_a_mode_is_split_and_the_split_is_there_again(run, tmp_path, tab):
    tab.goto(explore(run).as_uri())
    half = content_of(page(run))["modes"][0]["half"]
    assert 0 < len(half) <= content_of(page(run))["codes"].count(0) / 2
    tab.click(f"text=Split off {len(half)} >> nth=0")
    assert tab.locator("#modes .card").count() == 3
    found = saved(tab)
    ids = content_of(page(run))["ids"]
    assert found["labels"] == {ids[place]: 2 for place in sorted(half)}
    assert set(found["anchors"].values()) == {0, 1}
    assert "--modes 3" in tab.text_content("#command")
    again = manyways.train(
        manyways.SOGBC(iterations=60, hidden=16), tmp_path / "again", data=run.config["data"], modes=3, edits=found
    )
    assert set(manyways.modes(again).codes[half]) == {2}
    (run.path / "edits.json").write_text(json.dumps(found))
    try:
        tab.goto(explore(run).as_uri())
        assert tab.locator("#modes .card").count() == 3
        assert saved(tab) == found
    finally:
        (run.path / "edits.json").unlink()


@pytest.fixture(scope="module")
def ranged(tmp_path_factory, demonstrations):
    folder = tmp_path_factory.mktemp("ranged")
    dressed(demonstrations).save(folder / "demo.parquet")
    return manyways.train(
        manyways.SOGBC(iterations=30, hidden=16), folder / "run", data=folder / "demo.parquet", code_size=2
    )


def test_a_slider_shows_the_demonstrations_near_its_code(ranged, tab):
    tab.goto(explore(ranged).as_uri())
    found = content_of(page(ranged))
    for dimension, value in enumerate((0.1, 0.8)):
        tab.fill(f"#slider-{dimension}", str(value))
    tab.wait_for_selector("#near button")
    tab.wait_for_timeout(100)
    far = np.hypot(np.array(found["coordinates"][0]) - 0.1, np.array(found["coordinates"][1]) - 0.8)
    shown = tab.locator("#near button").evaluate_all("all => all.map(each => +each.dataset.demonstration)")
    assert shown == np.argsort(far, kind="stable")[:5].tolist()
    drawn = tab.evaluate("plot.data.find(trace => trace.line && trace.line.color === NEAR).customdata")
    assert set(drawn) == set(shown)
    tab.click("#near-none")
    assert tab.locator("#near button").count() == 0
    assert tab.evaluate("plot.data.every(trace => !trace.line || trace.line.color !== NEAR)")
    assert not tab.is_visible("#modes-section")


@pytest.mark.parametrize("algorithm", [manyways.MDN, manyways.BC])
def test_a_run_without_codes_is_looked_at_and_cleaned(run, tmp_path, tab, algorithm):
    settings = algorithm(iterations=3, hidden=8)
    without = manyways.train(settings, tmp_path / settings.name, data=run.config["data"])
    tab.goto(report(without).as_uri())
    assert "One policy without codes" in tab.text_content(".lead")
    assert click_line(tab, 7)
    tab.click("#one-exclude")
    assert list(saved(tab)["exclude"]) == [tab.text_content("#one-title")]
    colours = tab.locator("#colour option").all_text_contents()
    assert colours == [*(["loss"] if algorithm is manyways.BC else []), "length", "operator", "speed", "time"]
    assert not tab.is_visible("#modes-section")
    assert not tab.is_visible("#one-mode")
