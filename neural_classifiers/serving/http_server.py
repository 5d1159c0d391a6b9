"""The processes that serve promoted models over HTTP (`serving.http`), by uvicorn."""

import os
import sys
import tempfile

import uvicorn

from neural_classifiers.engine.settings import read_settings
from neural_classifiers.errors import RefusedError

MAX_CONNECTIONS = 200  # of a process; further ones are answered 503 at once
GRACE_S = 15  # for requests under way when it is stopped
APP = "neural_classifiers.serving.http:make_app"


def serve(host: str, port: int, processes: int) -> None:
    """Answer until a signal ends it: requests under way are answered, further ones refused.

    With several `processes` uvicorn starts another one for each that dies.

    Raises
    ------
    RefusedError
        If other machines could reach it and no token is asked for.
    """
    if host not in ("127.0.0.1", "localhost", "::1") and read_settings().token is None:
        raise RefusedError(
            f"--host {host}: expected NEURAL_CLASSIFIERS_TOKEN where other machines can reach it, "
            "got none; set it in the environment or in .env"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as folder:
        if processes > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        sys.stderr.write(f"http://{host}:{port} is the page, /docs the interface; Ctrl-C ends it\n")
        uvicorn.run(
            APP,
            factory=True,
            host=host,
            port=port,
            workers=processes if processes > 1 else None,
            access_log=False,
            log_level="warning",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=GRACE_S,
        )
