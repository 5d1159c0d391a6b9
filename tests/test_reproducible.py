"""Two runs from nothing give the same: every file, or the same parameters of a model."""

import json
from pathlib import Path

import pytest
import small_flow


@pytest.fixture
def homes(prefect_server) -> tuple[Path, Path]:
    api_url = small_flow.api_url()
    return small_flow.undisturbed(api_url).home, small_flow.watched(api_url)


def test_every_step_ran_in_both(homes):
    for home in homes:
        assert not any(step["hit"] for step in small_flow.steps(home))
    assert small_flow.records(homes[0]).keys() == small_flow.records(homes[1]).keys()


def test_every_file_means_the_same(homes):
    one, other = map(small_flow.contents, homes)
    assert one == other
    suffixes = {".parquet", ".json", ".html", ".png", ".npz", ".skops"}
    assert {Path(name).suffix for name in one} == suffixes


def test_only_models_may_differ_in_bytes(homes):
    one, other = map(_bytes, homes)
    differ = {name for name in one if one[name] != other[name]}
    assert {Path(name).suffix for name in differ} <= {".skops"}  # a zip with its date


def test_models_have_the_same_parameters(homes):
    one, other = map(_parameters, homes)
    assert one == other
    improved = {"linear_improved", "scikit_improved", "keras_improved"}
    assert one.keys() == {"constant", "linear", "linear_raw", "scikit", "keras"} | improved


def test_the_run_folders_say_the_same(homes):
    for name in ("metrics.json", "figures/*.png"):
        one, other = (_run_files(home, name) for home in homes)
        assert one
        assert one == other


def test_what_differs_lies_apart(homes):
    for home in homes:
        for path in (home / "artifacts" / "cache").glob("[!.]*/*"):
            assert (path / "timing.json").is_file()
            outputs = json.loads((path / "record.json").read_bytes())["outputs"]
            assert not any(Path(o["file"]).name.startswith("timing.") for o in outputs)


def _bytes(home: Path) -> dict[str, str]:
    return {
        f"{name}/{output['file']}": output["sha256"]
        for name, record in small_flow.records(home).items()
        for output in record["outputs"]
    }


def _parameters(home: Path) -> dict[str, str]:
    files = (home / "artifacts" / "cache").glob("[!.]*/*/recipe.json")
    recipes = [json.loads(file.read_bytes()) for file in files]
    return {recipe["model"]: recipe["parameters_sha256"] for recipe in recipes}


def _run_files(home: Path, pattern: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (home / "artifacts" / "runs").glob(f"*/{pattern}")}
