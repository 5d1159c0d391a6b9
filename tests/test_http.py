"""Promoted models over HTTP: the answers of `predict`, bounds, and a change of version."""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import made_models
import numpy as np
import pytest
from fastapi.testclient import TestClient
from operated import free_port

import neural_classifiers
from neural_classifiers.errors import RefusedError
from neural_classifiers.serving import http, http_server, predict, registry

GOAL = "The goalie saved the penalty in the last match of the season"


@pytest.fixture
def version(home) -> str:
    return made_models.serve(home)


def client(**headers: str) -> TestClient:
    return TestClient(http.make_app(), base_url="http://127.0.0.1", headers=headers)


def test_texts_get_the_answers_of_predict_and_the_words_they_hang_on(version):
    texts = [GOAL, "[removed]", "zyxwv qponm"]
    expected = predict.predict_texts(neural_classifiers.load(version), texts)
    with client() as ask:
        assert ask.post("/predict", json={"texts": texts}).json() == {"predictions": expected}
        assert ask.post("/predict", json={"text": GOAL}).json() == {"predictions": expected[:1]}
        explained = ask.post("/explain", json={"text": GOAL}).json()

        assert expected[1]["rejected"]
        assert expected[2]["warning"] == predict.UNKNOWN
        assert explained["label"] == expected[0]["label"]
        assert {word for word, _ in explained["words"]} <= set(GOAL.split())
        assert ask.post("/explain", json={"text": "[removed]"}).status_code == 422
        assert [m["version"] for m in ask.get("/models").json()["models"]] == [version]


class _Reader:
    """A reader of digits that is sure of the digit that stands in an image's first pixel."""

    version, classes_ = "notebook-1", np.arange(10)

    def __init__(self):
        self.manifest = {"files": {}}  # no profile of what it was trained on

    def predict_proba(self, images):
        return np.eye(10)[images[:, 0, 0]]

    def answers(self, probabilities):
        return probabilities.argmax(axis=1)


def test_an_image_may_come_as_numbers_or_as_a_file(version, monkeypatch):
    monkeypatch.setattr(registry, "serving_version", lambda kind: _Reader.version)
    monkeypatch.setattr(registry, "load", lambda kind: _Reader())
    image = np.zeros((28, 28), np.uint8)
    image[0, 0] = 7
    file = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (1, 28, 28))
    file += image.tobytes()
    with client() as ask:
        for given in (image.tolist(), base64.b64encode(file).decode()):
            [row] = ask.post("/predict", json={"image": given}).json()["predictions"]
            assert (row["label"], row["version"]) == ("7", "notebook-1")


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({}, "expected one of text, texts and image, got 0"),
        ({"text": "a", "texts": ["b"]}, "expected one of text, texts and image, got 2"),
        ({"text": 3}, "body.text: Input should be a valid string"),
        ({"texts": []}, "at least 1 item"),
        ({"texts": ["a"] * 1001}, "at most 1000 items"),
        ({"txt": "a"}, "body.txt: Extra inputs"),
        ({"image": "no base64!"}, "image: "),
        ({"image": "aGVsbG8="}, "image: expected an IDX file"),
        ({"image": [[0] * 28] * 27}, "28 rows of 28 numbers"),
        ({"image": [[256] * 28] * 28}, "from 0 to 255"),
        ([1], "body: "),
    ],
)
def test_a_question_that_is_none_is_refused_in_words(version, question, why):
    with client() as ask:
        reply = ask.post("/predict", json=question)
        assert reply.status_code == 422
        assert why in reply.json()["detail"]
        assert len(reply.text) < 1200


def test_what_is_too_large_or_no_json_is_refused_and_the_server_lives(version):
    with client() as ask:
        large = b'{"text": "' + b"a" * http.MAX_BODY + b'"}'
        as_json = {"Content-Type": "application/json"}
        assert ask.post("/predict", content=large, headers=as_json).status_code == 413
        chunks = (large[i : i + 65536] for i in range(0, len(large), 65536))
        assert ask.post("/predict", content=chunks, headers=as_json).status_code == 413
        for content in (b"[" * 1_000_000, b"\x00\xff", b"{", b""):
            assert ask.post("/predict", content=content, headers=as_json).status_code in (400, 422)
        assert ask.post("/predict", content=b'{"text": "a"}').status_code == 422  # not as JSON
        for text in ("\x00", "half a pair \ud83d", "a" * 100_000):
            content = json.dumps({"text": text})
            reply = ask.post("/predict", content=content, headers=as_json)
            assert reply.status_code == 200, text[:20]
        assert ask.get("/health").json() == {"status": "lives"}


def test_a_slow_sender_and_a_slow_answer_end(version, monkeypatch):
    monkeypatch.setattr(http, "BODY_S", 0.05)
    monkeypatch.setattr(http, "ANSWER_S", 0.1)

    async def never(*_):
        await asyncio.sleep(60)

    async def status_of(receive, app) -> int:
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "headers": [], "method": "POST", "path": "/"}
        await http.Bounds(app, only_loopback=False)(scope, receive, send)
        return sent[0]["status"]

    async def empty():
        return {"type": "http.request", "body": b"", "more_body": False}

    assert asyncio.run(status_of(never, None)) == 408
    assert asyncio.run(status_of(empty, never)) == 503


def test_another_host_is_refused_and_a_token_asked_for(version, monkeypatch):
    with client(Host="evil.example:8000") as ask:
        assert ask.get("/models").status_code == 421
    monkeypatch.setenv("NEURAL_CLASSIFIERS_TOKEN", "s3cret")
    for headers in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Basic s3cret"}):
        with client(**headers) as ask:
            for path in ("/models", "/metrics"):
                assert ask.get(path).status_code == 401, headers
            assert ask.post("/predict", json={"text": GOAL}).status_code == 401
            assert ask.get("/health").status_code == 200
    with client(Authorization="Bearer s3cret", Host="models.example") as ask:
        assert ask.post("/predict", json={"text": GOAL}).status_code == 200


def test_other_machines_reach_it_only_with_a_token(home):
    with pytest.raises(RefusedError, match=r"--host 0\.0\.0\.0: expected NEURAL_CLASSIFIERS_TOKEN"):
        http_server.serve("0.0.0.0", 8000, 1)


def test_without_a_model_it_lives_and_says_what_to_do(home):
    with client() as ask:
        assert ask.get("/health").status_code == 200
        assert ask.get("/ready").status_code == 503
        reply = ask.post("/predict", json={"text": GOAL})
        assert reply.status_code == 503
        assert "promote last" in reply.json()["detail"]


def test_a_promotion_and_a_rollback_are_taken_up_without_a_wait(home, version):
    texts, labels = made_models.comments(home)
    other = made_models.fitted(texts[:160], labels[:160], C=1.0)
    with client() as ask:

        def comes_to(expected: str) -> bool:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                [row] = ask.post("/predict", json={"text": GOAL}).json()["predictions"]
                if row["version"] == expected:
                    return True
            return False

        assert comes_to(version)
        second = made_models.serve(home, other)
        assert comes_to(second)
        registry.roll_back("comments")
        assert comes_to(version)
        assert ask.get("/ready").json() == {"serving": {"comments": version}}


def test_a_promoted_version_that_cannot_be_loaded_leaves_the_one_before(home, version):
    texts, labels = made_models.comments(home)
    with client() as ask:
        ask.post("/predict", json={"text": GOAL})
        second = made_models.serve(home, made_models.fitted(texts[:160], labels[:160], C=1.0))
        examples = registry.version_folder(second) / "examples.json"
        examples.chmod(0o644)
        examples.write_bytes(b"{}")
        deadline = time.monotonic() + 30
        while "fault" not in ask.get("/ready").json() and time.monotonic() < deadline:
            time.sleep(0.05)
        [row] = ask.post("/predict", json={"text": GOAL}).json()["predictions"]
        assert row["version"] == version
        assert ask.get("/ready").status_code == 503
        assert second in ask.get("/ready").json()["fault"]


def test_metrics_count_requests_and_answers(version):
    with client() as ask:
        before = _count(ask, version)
        ask.post("/predict", json={"texts": [GOAL, GOAL]})
        assert _count(ask, version) == before + 2
        assert (
            'classifiers_requests_total{path="/predict",status="200"}' in ask.get("/metrics").text
        )


def _count(ask: TestClient, version: str) -> float:
    lines = ask.get("/metrics").text.splitlines()
    ours = [line for line in lines if line.startswith("classifiers_predictions_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in ours if version in line)


def test_page_and_documents_load_nothing_from_elsewhere(version):
    with client() as ask:
        page = ask.get("/")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        [nonce] = set(re.findall(r'nonce="([^"]+)"', page.text))
        assert f"script-src 'nonce-{nonce}'" in page.headers["Content-Security-Policy"]
        for text in (page.text, ask.get("/docs").text):
            assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
        assert set(ask.get("/openapi.json").json()["paths"]) == {
            *("/predict", "/explain", "/models", "/metrics", "/health", "/ready")
        }


def test_requests_under_way_are_answered_when_it_is_stopped(home, version):
    command = [
        sys.executable,
        "-m",
        "neural_classifiers",
        "serve",
        "--port",
        str(port := free_port()),
    ]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=os.environ)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                assert httpx.get(f"{address}/ready", timeout=30).status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        with httpx.stream(
            "POST",
            f"{address}/predict",
            content=_slowly(server),
            headers={"Content-Type": "application/json"},
        ) as reply:
            assert json.loads(reply.read())["predictions"][0]["version"] == version
        assert server.wait(timeout=30) in (0, -signal.SIGTERM)
    finally:
        server.kill()


def _slowly(server: subprocess.Popen):
    yield b'{"text": '
    server.terminate()
    time.sleep(0.3)
    yield b'"a goal"}'
