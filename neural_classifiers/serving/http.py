"""Promoted models over HTTP: predictions, the words they hang on, metrics, a page for people.

A request is answered by the version that serves when it is taken up. After a promotion or a
rollback the next request loads what serves now, in the background: until that one has answered its
examples the one before goes on, so no request waits or is dropped. Models answer one request at a
time in each process; more processes answer more.

Knows no Prefect.
"""

import asyncio
import base64
import binascii
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Self

import numpy as np
import prometheus_client
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from jinja2 import Environment
from prometheus_client import multiprocess
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neural_classifiers.digits.files import IMAGE_SHAPE, read_images
from neural_classifiers.engine.settings import read_settings
from neural_classifiers.errors import RefusedError
from neural_classifiers.judgement.weaknesses import occlusion
from neural_classifiers.serving import predict, registry
from neural_classifiers.serving.model import (
    COMMENTS,
    DIGITS,
    KINDS,
    Classifier,
    NotPromotedError,
    PromotedModel,
)

MAX_BODY = 4 * 2**20  # bytes of a request
MAX_TEXTS = 1000  # of a request
BODY_S = 10.0  # for a request to arrive
ANSWER_S = 60.0  # for its answer
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

REQUESTS = prometheus_client.Counter(
    "classifiers_requests", "Requests answered", ["path", "status"]
)
SECONDS = prometheus_client.Histogram("classifiers_request_seconds", "Time to answer", ["path"])
PREDICTIONS = prometheus_client.Counter(
    "classifiers_predictions", "Texts and images by what was predicted", ["version", "label"]
)


class Question(BaseModel):
    """What is to be predicted: a text, texts, or an image."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: str | None = None
    texts: Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)] | None = None
    image: str | list[list[int]] | None = Field(
        default=None,
        description="a PNG or IDX file in base64, or 28 rows of 28 numbers from 0 to 255",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (given := len(self.model_fields_set)) != 1:
            raise ValueError(f"expected one of text, texts and image, got {given} of them")
        return self


class Text(BaseModel):
    """A text whose answer is to be explained."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: str


class Prediction(BaseModel):
    """The answer for a text or image, or why there is none."""

    version: str
    label: str | None = None
    probabilities: dict[str, float] | None = None
    rejected: list[str] | None = None
    warning: str | None = None


class Predictions(BaseModel):
    """An answer for each text or image, in their order."""

    predictions: list[Prediction]


class Explanation(BaseModel):
    """An answer and the words it hangs on: how far its probability falls without each."""

    label: str
    probability: float
    words: list[tuple[str, float]]
    version: str


class ServingModels:
    """The models that serve, loaded once each, and again where another one serves."""

    def __init__(self) -> None:
        self._held: dict[str, PromotedModel] = {}
        self._asked: dict[str, str] = {}  # the version that was last asked for
        self._loading = threading.Lock()
        self.turn = threading.Lock()  # a model answers one request at a time
        self.fault: str | None = None  # of the version that should serve and cannot

    def get(self, kind: str) -> PromotedModel:
        """The model of a kind that serves.

        Raises
        ------
        NotPromotedError
            If none does, or the first one cannot be loaded.
        """
        version, held = registry.serving_version(kind), self._held.get(kind)
        if version is None or held is None:
            with self._loading:
                return self._held.get(kind) or self._load(kind)
        if self._asked[kind] != version:
            self._asked[kind] = version
            threading.Thread(target=self._replace, args=(kind,), daemon=True).start()
        return held

    def _replace(self, kind: str) -> None:
        with self._loading:
            try:
                self._load(kind)
                self.fault = None
            except NotPromotedError as error:  # the one before goes on
                self.fault = str(error)

    def _load(self, kind: str) -> PromotedModel:
        self._held[kind] = model = registry.load(kind)
        self._asked[kind] = model.version
        return model


class Bounds:
    """Bounds on the size and time of a request, as a layer around the application.

    A body is read whole before anything is made of it, so that whoever sends slowly holds no
    thread; it also counts requests and times them.
    """

    def __init__(self, app: ASGIApp, only_loopback: bool) -> None:
        self.app, self.only_loopback = app, only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            async with asyncio.timeout(ANSWER_S):
                refusal = self._foreign(scope) or await self._answer(scope, receive, send_and_note)
        except TimeoutError:
            refusal = _refusal(503, f"expected an answer within {ANSWER_S:g} s; ask again later")
        if refusal and not status:
            await refusal(scope, receive, send_and_note)
        path = getattr(scope.get("route"), "path", "none")
        REQUESTS.labels(path, status or "gone").inc()
        SECONDS.labels(path).observe(time.perf_counter() - start)

    def _foreign(self, scope: Scope) -> Response | None:
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.only_loopback and name not in LOOPBACK:
            return _refusal(421, f"expected a Host out of {', '.join(LOOPBACK)}, got {name!r}")
        return None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        try:
            async with asyncio.timeout(BODY_S):
                body = await _read_body(scope, receive)
        except TimeoutError:
            return _refusal(408, f"expected the whole request within {BODY_S:g} s")
        if body is None:
            return _refusal(413, f"expected at most {MAX_BODY:,} bytes")
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive_body() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, receive_body, send)
        return None


async def _read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The body of a request; None where it is larger than may be."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY:
        return None
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def make_app() -> FastAPI:
    """The application, by the settings; uvicorn calls it in each of its processes."""
    token, models = read_settings().token, ServingModels()

    def with_token(given: Annotated[Any, Depends(HTTPBearer(auto_error=False))]) -> None:
        if token and not _is(given, token.get_secret_value()):
            raise HTTPException(401, "expected the header 'Authorization: Bearer <token>'")

    @asynccontextmanager
    async def loading(app: FastAPI) -> AsyncIterator[None]:
        for kind in KINDS:  # before the first request
            with suppress(NotPromotedError):
                await asyncio.to_thread(models.get, kind)
        yield

    app = FastAPIOffline(title="Promoted classifiers", lifespan=loading)
    app.add_middleware(Bounds, only_loopback=token is None)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    guarded = [Depends(with_token)]

    @app.post("/predict", dependencies=guarded, response_model_exclude_none=True)
    def answer(question: Question) -> Predictions:
        """Predict the category of a text, of each of many, or the digit of each image."""
        with models.turn:
            rows = _answers(models, question)
        for row in rows:
            PREDICTIONS.labels(row["version"], row.get("label", "(rejected)")).inc()
        return Predictions(predictions=[Prediction(**row) for row in rows])

    @app.post("/explain", dependencies=guarded)
    def explain(question: Text) -> Explanation:
        """The words of a text that the answer hangs on."""
        with models.turn:
            return _explanation(models.get(COMMENTS), question.text)

    @app.get("/models", dependencies=guarded)
    def versions() -> dict[str, list[dict[str, Any]]]:
        """Every promoted version, with its scores and where it comes from."""
        return {"models": registry.all_versions()}

    @app.get("/metrics", dependencies=guarded)
    def metrics() -> Response:
        """Counts and times of all processes, in Prometheus' format."""
        collected = prometheus_client.REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            collected = prometheus_client.CollectorRegistry()
            multiprocess.MultiProcessCollector(collected)
        content = prometheus_client.generate_latest(collected)
        return Response(content, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether the process lives."""
        return {"status": "lives"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """Whether a model serves and answers; 503 where not."""
        serving: dict[str, str] = {}
        for kind in KINDS:
            with suppress(NotPromotedError):
                serving[kind] = models.get(kind).version
        content = {"serving": serving} | ({"fault": models.fault} if models.fault else {})
        return JSONResponse(content, 200 if serving and not models.fault else 503)

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; connect-src 'self'; script-src 'nonce-{nonce}'; "
            f"style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        content = _page().render(nonce=nonce, needs_token=token is not None)
        return HTMLResponse(content, headers={"Content-Security-Policy": policy})

    return app


def _answers(models: ServingModels, question: Question) -> list[dict[str, Any]]:
    """The predictions that a question asks for, as `predict_texts` gives them."""
    if question.image is None:
        texts = [question.text] if question.text is not None else question.texts or []
        classifier = models.get(COMMENTS)
        assert isinstance(classifier, Classifier)
        return predict.predict_texts(classifier, texts)
    images, reader = _images(question.image), models.get(DIGITS)
    return predict.answer_images(reader, images)


def _images(image: str | list[list[int]]) -> np.ndarray:
    """Images uint8 of shape (n, 28, 28) of a question."""
    if isinstance(image, str):
        try:
            content = base64.b64decode(image, validate=True)
            return read_images(content, "image")
        except (binascii.Error, ValueError) as error:
            raise HTTPException(422, f"image: {error}") from None
    shape = {(len(image), len(row)) for row in image}
    if shape != {IMAGE_SHAPE} or not all(0 <= value <= 255 for row in image for value in row):
        raise HTTPException(422, "image: expected 28 rows of 28 numbers from 0 to 255")
    return np.array([image], dtype=np.uint8)


def _explanation(model: PromotedModel, text: str) -> Explanation:
    assert isinstance(model, Classifier)
    [row] = predict.predict_texts(model, [text])
    if "rejected" in row:
        raise HTTPException(422, f"text: {'; '.join(row['rejected'])}")
    column = model.classes_.astype(str).tolist().index(row["label"])
    probability, words = occlusion(model.predict_proba, text, column)
    return Explanation(
        label=row["label"], probability=probability, words=words, version=model.version
    )


def _is(given: HTTPAuthorizationCredentials | None, token: str) -> bool:
    sent = given.credentials if given else ""
    return secrets.compare_digest(sent.encode(), token.encode())


def _refusal(status: int, why: str) -> JSONResponse:
    return JSONResponse({"detail": why}, status)


def _refused(request: Request, error: Exception) -> JSONResponse:
    """What the project refuses, in its own words: no model serves, most often."""
    return _refusal(503, str(error))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What of a request was expected to be otherwise, without the request itself."""
    assert isinstance(error, RequestValidationError)
    faults: Iterable[Any] = error.errors()
    return _refusal(
        422, "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in faults)[:1000]
    )


@cache
def _page() -> Any:
    source = files("neural_classifiers.serving").joinpath("page.html")
    return Environment(autoescape=True).from_string(source.read_text("utf-8"))
