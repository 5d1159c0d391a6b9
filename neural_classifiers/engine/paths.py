"""Where the project's things lie: one root, and the folders below it.

The root is the checkout, or the folder named by ``NEURAL_CLASSIFIERS_HOME`` (tests use it;
a second machine's worker may).
"""

import os
from pathlib import Path

_ROOT = "NEURAL_CLASSIFIERS_HOME"


def root() -> Path:
    """The folder that holds ``data/`` and ``artifacts/``."""
    return Path(os.environ.get(_ROOT) or Path(__file__).resolve().parents[2])


def use(folder: Path) -> None:
    """Take another root, in this process and those it starts."""
    os.environ[_ROOT] = str(folder)


def catalogue() -> Path:
    """The file that names every data set; it belongs to the code, so it never moves."""
    return Path(__file__).resolve().parents[2] / "data" / "catalog.yaml"


def raw_data() -> Path:
    """Downloaded data, one folder a catalogue entry; never edited."""
    return root() / "data" / "raw"


def cache() -> Path:
    """Records: one folder per finished step."""
    return root() / "artifacts" / "cache"


def runs() -> Path:
    """Run folders, made for people."""
    return root() / "artifacts" / "runs"


def models() -> Path:
    """Promoted models: one folder a version, and the file that says which of them serve."""
    return root() / "artifacts" / "models"


def enter_project() -> dict[str, str]:
    """Work where the code is, on whichever machine: the first thing a deployment's run does."""
    project = Path(__file__).resolve().parents[2]
    os.chdir(project)
    return {"directory": str(project)}
