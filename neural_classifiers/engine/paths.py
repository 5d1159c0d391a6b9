"""Where the project's things lie: one root, and the folders below it.

The root is the checkout, or the folder named by ``NEURAL_CLASSIFIERS_HOME`` (tests use it;
a second machine's worker may).
"""

import contextlib
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


def make_private(folder: Path) -> None:
    """Make a folder for this user alone, and ``artifacts`` of a new checkout so as well.

    Of an ``artifacts`` in use the operator decides: others may be meant to read it. Where a folder
    cannot be made or is another's, who needs it says so; `doctor` names what is open.
    """
    artifacts = cache().parent
    in_use = cache().exists() or runs().exists() or models().exists()
    with contextlib.suppress(OSError):
        for path in [folder] if in_use else [folder, artifacts]:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if open_to_others(path):
                path.chmod(0o700)


def open_to_others(path: Path) -> bool:
    """Whether a file or folder that is there lets in anybody but its owner."""
    return path.exists() and bool(path.stat().st_mode & 0o077)


def enter_project() -> dict[str, str]:
    """Work where the code is, on whichever machine: the first thing a deployment's run does."""
    project = Path(__file__).resolve().parents[2]
    os.chdir(project)
    return {"directory": str(project)}
