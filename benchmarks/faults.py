"""Deaths and faults, counted: docs/faults.md.

    make faults N=10

The record layer is killed or failed at each of its file operations (`record_faults`), the comments
flow at random moments (`flow_kills`); both are what the tests do, only more of it.
"""

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import small_flow  # noqa: E402
from flow_kills import FlowTally, try_flow  # noqa: E402
from record_faults import Tally, try_records  # noqa: E402


def page(layer: Tally, flow: FlowTally, command: str) -> str:
    """docs/faults.md."""
    divergences = [*layer.divergences, *(d for kill in flow.kills for d in kill.divergences)]
    lines = [
        "# Deaths and faults",
        "",
        f"Written by `{command}` on {datetime.now(UTC):%d %B %Y}. Goal: 0 divergences.",
        "",
        "| | deaths | faults | divergences |",
        "| --- | ---: | ---: | ---: |",
        f"| record layer | {layer.deaths} | {layer.faults} | {len(layer.divergences)} |",
        f"| comments flow | {len(flow.kills)} | | {len(divergences) - len(layer.divergences)} |",
        "",
        "## The record layer alone",
        "",
        "A small step is recorded, found, found damaged and refreshed, fits are kept, batches of",
        "rows worked, steps noted in a run's folder, a version promoted, predictions written.",
        "Each of their file operations in turn is the last before a SIGKILL (before it, after it,",
        "halfway through a write, then others in the next run), or fails (EIO, ENOSPC, EMFILE,",
        "EACCES, EROFS, ENOLCK, a short write, a failed fsync, rename or close). Then it is done",
        "again, undisturbed: result and files must be those of a run to which nothing happened. No",
        "half-written record is ever visible, no lock stays.",
        "",
        f"{layer.raised} faults rose as errors; {layer.absorbed} were absorbed (a short write is",
        "continued, an unreadable record is computed again, a leftover is swept later), with the",
        f"right result. {layer.seconds:g} s.",
        "",
        "| scenario | file operations |",
        "| --- | ---: |",
        *(f"| {name} | {number} |" for name, number in layer.operations.items()),
        "",
        "## The comments flow, killed at random",
        "",
        f"Undisturbed: {flow.records} records of {flow.files} files, {flow.fits} fits,",
        f"{flow.seconds:g} s. After the kill it is started again and must end with the same files",
        "(models: the same parameters). What was whole when the kill came must not be done again.",
        "",
        "| killed after (s) | whom | records whole | done again | fits whole | done again |"
        " the next run (s) | divergences |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {k.after_s:g} | {k.whom} | {k.records_whole} | {k.records_again} | {k.fits_whole}"
            f" | {k.fits_again} | {k.seconds:g} | {len(k.divergences)} |"
            for k in flow.kills
        ),
    ]
    if divergences:
        lines += ["", "## Divergences", "", *(f"- {one[:500]}" for one in divergences)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """1 when something diverged."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="of the flow; default: 10")
    parser.add_argument("--seed", type=int, default=34, help="of the moments of the kills")
    parser.add_argument("--second-deaths", type=int, default=8, help="after each first one")
    asked = parser.parse_args()
    # forks: before anything that starts threads
    layer = try_records(second_deaths=asked.second_deaths)
    os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180), tempfile.TemporaryDirectory() as folder:
        url = small_flow.api_url()
        flow = try_flow(Path(folder), kills=asked.kills, seed=asked.seed, api_url=url)
    text = page(layer, flow, f"make faults N={asked.kills}")
    (ROOT / "docs" / "faults.md").write_text(text, encoding="utf-8")
    print(text)
    return int("## Divergences" in text)


if __name__ == "__main__":
    sys.exit(main())
