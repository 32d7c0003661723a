import contextlib
import http.client
import io
import itertools
import json
import threading

import numpy as np
import pytest
from PIL import Image

import manyways
from manyways.cli.exploring import _live
from manyways.visual.live import Live
from manyways.visual.serving import Server


@pytest.fixture(scope="module")
def run(tmp_path_factory, circles_folder):
    folder = tmp_path_factory.mktemp("live") / "run"
    return manyways.train(manyways.SOGBC(iterations=40, hidden=16), folder, data=circles_folder, task="circles")


def test_the_code_is_switched_in_mid_episode(run, monkeypatch):
    live = _live(run, None, {})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    seen = []
    predict = live._policy.predict

    def watched(observation, state, *rest):
        seen.append(int(np.argmax(state[:3])))
        return predict(observation, state, *rest)

    monkeypatch.setattr(live._policy, "predict", watched)
    frames = live.frames()
    pictures = [Image.open(io.BytesIO(next(frames))) for _ in range(4)]
    assert pictures[0].format == "JPEG"
    assert pictures[0].size == (480, 480)
    before = len(seen)
    live.command({"code": 2})
    for _ in range(4):
        next(frames)
    assert set(seen[:before]) == {0}
    assert set(seen[before:]) == {2}
    assert len(seen) > before
    live.command({"nudge": True, "reset": True})
    for _ in range(4):
        next(frames)
    frames.close()
    assert np.asarray(pictures[0]).std() > 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "nothing to do"),
        ([1], "nothing to do"),
        ({"x": 1}, "nothing"),
        ({"code": "a"}, "index"),
        ({"code": 9}, "9"),
        ({"start": 3}, "the window is 3"),
    ],
)
def test_what_the_simulator_cannot_do_is_told(run, asked, message):
    with pytest.raises(manyways.InputError, match=message):
        _live(run, None, {}).command(asked)


def test_an_environment_that_does_not_fit_or_draw_is_told(policy):
    with pytest.raises(manyways.InputError, match="cannot be made"):
        Live.of(policy, "worlds:Line", {}, "worlds:Line")  # it takes no render_mode
    with pytest.raises(manyways.InputError, match="observes"):
        Live.of(policy, "CartPole-v1", {}, "CartPole-v1")


def failing(live, steps):
    """Let its environments raise at this step, counted over all of them."""
    make, taken = live._make, itertools.count()

    def made():
        environment = make()
        step = environment.step

        def fail(action):
            if next(taken) == steps:
                raise ValueError("motor\non fire")
            return step(action)

        environment.step = fail
        return environment

    live._make = made


def test_an_environment_that_fails_is_told_and_can_be_started_again(run, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    live = _live(run, None, {})
    failing(live, 3)
    assert len(list(live.frames("here"))) >= 1
    problem = "circles failed (ValueError: motor on fire); start again, or mend it and serve the page anew"
    assert live.state() == {"code": 0, "window": "", "problem": problem}
    with pytest.raises(manyways.InputError, match="circles failed"):
        live.command({"reset": True})
    live.command({"start": "here", "code": 1})
    assert live.state() == {"code": 1, "window": "here", "problem": ""}
    frames = live.frames("here")
    for _ in range(5):
        next(frames)
    assert live.state()["problem"] == ""
    frames.close()
    assert live.state()["window"] == ""


def test_an_environment_that_cannot_be_made_later_is_told(run):
    live = _live(run, None, {})
    live._make = lambda: {}["port"]
    assert list(live.frames()) == []
    assert "circles failed (KeyError: 'port')" in live.state()["problem"]


def test_who_started_last_looks_on_alone(run, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    live = _live(run, None, {})
    first = live.frames("first")
    next(first)
    live.command({"start": "second"})
    assert list(first) == []
    assert live.state()["window"] == "second"


def test_a_nudge_moves_the_state_away_from_where_the_policy_goes(run, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def positions(nudged):
        live, seen = _live(run, None, {}), []
        make = live._make

        def made():
            environment = make()
            environment.action_space.seed(1)
            step = environment.step
            environment.step = lambda action: seen.append(step(action)) or seen[-1]
            return environment

        live._make = made
        frames = live.frames()
        while len(seen) < 60:
            if nudged and len(seen) == 20:
                live.command({"nudge": True})
            next(frames)
        frames.close()
        return np.array([observation for observation, *_ in seen[:60]])

    alone, again, nudged = positions(False), positions(False), positions(True)
    far = np.abs(nudged - alone).max(axis=1)
    assert (alone == again).all()
    assert far[:20].max() == 0
    assert far[20:].max() > 10 * np.abs(np.diff(alone, axis=0)).mean()


def test_the_server_streams_pictures_and_takes_commands(run):
    with Server(run, live=_live(run, None, {})) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            stream.request("GET", f"/live?token={server.token}")
            answer = stream.getresponse()
            assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
            assert b"image/jpeg" in answer.read(200)
            for body, status in (({"code": 1}, 200), ({"code": 17}, 400)):
                asking = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
                asking.request("POST", f"/live?token={server.token}", json.dumps(body))
                told = asking.getresponse()
                assert told.status == status
                assert (b"17" if status == 400 else b'"code": 1') in (text := told.read())
                assert b"Not saved" not in text
            stream.close()
        finally:
            server.close()
            thread.join()


def test_the_command_asks_for_serving(run, command):
    code, _, errors = command("explore", run.path, "--env", "CartPole-v1")
    assert code == 2
    assert "give --serve too" in errors


def test_a_person_watches_and_switches(run, tab):
    with Server(run, live=_live(run, None, {})) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            tab.goto(server.address)
            tab.click("#live-stop")
            tab.wait_for_function("document.getElementById('live').naturalWidth === 480")
            tab.select_option("#live-code", "1")
            tab.click("#live-nudge")
            with tab.expect_response("**/live?*") as answer:
                tab.click("#live-reset")
            assert answer.value.ok
            assert tab.text_content("#live-said") == ""
            tab.click("#live-stop")
        finally:
            tab.goto("about:blank")
            server.close()
            thread.join()


@contextlib.contextmanager
def watched(live, run, tab):
    """Open the page of a run with a simulator."""
    with Server(run, live=live) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            tab.goto(server.address)
            yield server
        finally:
            tab.goto("about:blank")
            server.close()
            thread.join()


def said(tab, text):
    """Wait until the page says this of its simulator."""
    tab.wait_for_function("text => document.getElementById('live-said').textContent.includes(text)", arg=text)


def test_the_code_shown_is_the_one_that_runs_after_a_reload_and_in_every_window(run, tab):
    live = _live(run, None, {})
    with watched(live, run, tab):
        tab.click("#live-stop")
        tab.wait_for_function("document.getElementById('live').naturalWidth === 480")
        tab.select_option("#live-code", "1")
        tab.reload()
        tab.wait_for_function("document.getElementById('live-code').value === '1'")
        tab.evaluate("document.getElementById('live-code').value = '2'")  # as a browser restores what was shown
        tab.evaluate("document.getElementById('live-stop').click()")
        tab.wait_for_function("document.getElementById('live').naturalWidth === 480")
        assert live.state()["code"] == int(tab.input_value("#live-code"))
        other = tab.context.browser.new_page()
        other.goto(tab.url)
        said(other, "Another window shows the simulator")
        assert other.input_value("#live-code") == tab.input_value("#live-code")
        assert other.is_disabled("#live-nudge")
        other.select_option("#live-code", "0")
        tab.wait_for_function("document.getElementById('live-code').value === '0'")
        assert tab.text_content("#live-stop") == "Stop"
        other.click("#live-stop")
        other.wait_for_function("document.getElementById('live').naturalWidth === 480")
        said(tab, "Another window shows the simulator")
        assert tab.text_content("#live-stop") == "Start"
        other.close()
        tab.wait_for_function("document.getElementById('live-said').textContent === ''")


def test_a_failure_in_mid_episode_is_said_at_once_and_the_simulator_starts_again(run, tab):
    live = _live(run, None, {})
    failing(live, 40)
    with watched(live, run, tab):
        tab.click("#live-stop")
        tab.wait_for_function("document.getElementById('live').naturalWidth === 480")
        said(tab, "circles failed (ValueError: motor on fire)")
        assert "Not saved" not in tab.text_content("#live-said")
        assert tab.text_content("#live-stop") == "Start"
        assert tab.is_disabled("#live-reset")
        tab.click("#live-stop")
        tab.wait_for_function("document.getElementById('live').naturalWidth === 480")
        assert tab.text_content("#live-stop") == "Stop"
        assert tab.text_content("#live-said") == ""


def test_a_server_that_has_ended_is_told(run, tab):
    with watched(_live(run, None, {}), run, tab):
        tab.route("**/live.json*", lambda route: route.abort())
        said(tab, "The server does not answer")


def test_the_slider_sets_a_continuous_code_in_mid_episode(tmp_path, circles_folder, tab, monkeypatch):
    settings = manyways.SOGBC(iterations=20, hidden=16)
    run = manyways.train(settings, tmp_path / "run", data=circles_folder, task="circles", code_size=1)
    live = _live(run, None, {})
    for asked in (1, ["a"], [0.5, 0.5], [1.5], [True]):
        with pytest.raises(manyways.InputError):
            live.command({"code": asked})
    seen = []
    predict = live._policy.predict
    monkeypatch.setattr(
        live._policy, "predict", lambda seen_, state, *rest: seen.append(state[0]) or predict(seen_, state, *rest)
    )
    with Server(run, live=live) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            tab.goto(server.address)
            tab.click("#live-stop")
            tab.wait_for_function("document.getElementById('live').naturalWidth === 480")
            assert set(seen) == {0.0}  # the median
            with tab.expect_response("**/live?*") as answer:
                tab.fill("#slider-0", "0.9")
            assert answer.value.ok
            tab.wait_for_timeout(500)
            assert seen[-1] == live._policy.code([0.9])[0]
            assert tab.locator("#near button").count() == 5
            tab.reload()
            tab.wait_for_function("document.getElementById('slider-0').value === '0.9'")
        finally:
            tab.goto("about:blank")
            server.close()
            thread.join()
