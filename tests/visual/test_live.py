import http.client
import io
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


def test_an_environment_that_fails_is_told(run):
    live = _live(run, None, {})
    environment = live._make()
    environment.unwrapped.step = None
    live._make = lambda: environment
    assert len(list(live.frames())) >= 1
    with pytest.raises(manyways.InputError, match="circles failed"):
        live.command({"reset": True})


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
                assert asking.getresponse().status == status
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
        finally:
            tab.goto("about:blank")
            server.close()
            thread.join()
