"""Load on `neural-classifiers serve`: rate, latency, memory, a rollback and a killed process.

    make load                                            # the version that serves here

A client per connection asks again as soon as it is answered, on loopback and on the same cores as
the server: it takes its share of them. Halfway the version that serves is rolled back, where there
is one before it, and serves again after five seconds; then one of several processes is killed.
Every request is counted, and so is every one that was not answered by 200.
"""

import argparse
import asyncio
import json
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import httpx
import psutil
from measure import ROOT, family, start, table, write_tables

from neural_classifiers.serving import registry
from neural_classifiers.serving.model import COMMENTS, EXAMPLES

CONNECTIONS = 8


def main() -> None:
    """Measure each setting and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    rows = [_setting(processes, n_texts, seconds) for processes in (1, 2) for n_texts in (1, 100)]
    head = (
        "processes, texts a request, requests/s, p50 ms, p99 ms, MB before, MB after, not answered"
    )
    write_tables("load", table(head.split(", "), rows))


def _setting(processes: int, n_texts: int, seconds: float) -> list[object]:
    serving = registry.serving_version(COMMENTS)
    if serving is None:
        sys.exit("expected a promoted model: neural-classifiers promote last")
    examples = json.loads((registry.version_folder(serving) / EXAMPLES).read_bytes())["inputs"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--processes", str(processes)]
    server = start(["-m", "neural_classifiers", "serve", *options], cwd=ROOT)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        asyncio.run(_load(address, examples, n_texts, 3))  # warm
        before = _megabytes(server.pid)
        disturb = _disturb(server, processes)
        took, faults = asyncio.run(_load(address, examples, n_texts, seconds, disturb))
        after = _megabytes(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    percentiles = statistics.quantiles(took, n=100)
    figures = [len(took) / seconds, 1e3 * percentiles[49], 1e3 * percentiles[98], before, after]
    not_answered = ", ".join(f"{n} {what}" for what, n in faults.items()) or "0"
    return [processes, n_texts, *(f"{figure:,.1f}" for figure in figures), not_answered]


def _wait(address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            if httpx.get(f"{address}/ready", timeout=60).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            sys.exit("the server did not come up within 120 s")
        time.sleep(0.2)


async def _load(
    address: str,
    texts: list[str],
    n_texts: int,
    seconds: float,
    disturb: Callable[[], None] = lambda: None,
) -> tuple[list[float], Counter[str]]:
    """Seconds of each answered request, and what else came."""
    took: list[float] = []
    faults: Counter[str] = Counter()
    deadline = time.monotonic() + seconds

    async def ask(seed: int) -> None:
        drawn = random.Random(seed)
        async with httpx.AsyncClient(timeout=30) as client:
            while time.monotonic() < deadline:
                question = {"texts": drawn.choices(texts, k=n_texts)}
                began = time.perf_counter()
                try:
                    reply = await client.post(f"{address}/predict", json=question)
                    if reply.status_code == 200:
                        took.append(time.perf_counter() - began)
                    else:
                        faults[f"answered {reply.status_code}"] += 1
                except httpx.HTTPError as error:
                    faults[type(error).__name__] += 1

    async def in_the_middle() -> None:
        await asyncio.sleep(seconds / 2)
        await asyncio.to_thread(disturb)

    await asyncio.gather(*map(ask, range(CONNECTIONS)), in_the_middle())
    return took, faults


def _disturb(server: subprocess.Popen[bytes], processes: int) -> Callable[[], None]:
    """What happens halfway: a change of version, and the death of one of several processes."""

    def disturb() -> None:
        if len(registry.all_versions()) > 1:
            withdrawn, _ = registry.roll_back(COMMENTS)
            time.sleep(5)
            with registry.one_at_a_time():
                registry.let_serve(COMMENTS, withdrawn)
        workers = [p for p in family(server.pid)[1:] if "spawn_main" in " ".join(p.cmdline())]
        if processes > 1:
            workers[0].kill()

    return disturb


def _megabytes(pid: int) -> float:
    return (
        sum(one.memory_full_info().uss for one in family(pid) if psutil.pid_exists(one.pid)) / 1e6
    )


if __name__ == "__main__":
    main()
