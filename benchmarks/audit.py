"""Known vulnerabilities of the packages in ``requirements.lock``, by pip-audit.

    python benchmarks/audit.py

pip-audit (fetched by uv at the version below) asks the index's database. One that knows no package
answers "none found" all the same, so what was really looked up is counted: 0 ends with a word and
status 0, a part is a failure, and so is any vulnerability.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOL = "pip-audit==2.10.1"


def main() -> int:
    """Status 0 where nothing is known against what is locked, or nobody can be asked."""
    uv = Path(sys.executable).with_name("uv")
    lock = ROOT / "requirements.lock"
    options = "--disable-pip --require-hashes --format json --progress-spinner off".split()
    command = [uv, "tool", "run", TOOL, *options, "--requirement", lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(f"not audited, no database was reached: {done.stderr.strip().splitlines()[-1:]}")
        return 0
    known = [package for package in packages if "vulns" in package]
    if not known:
        print(f"not audited: the index has no database ({len(packages)} packages asked for)")
        return 0
    for package in packages:
        for fault in package.get("vulns", ()):
            fixed = ", ".join(fault["fix_versions"]) or "none yet"
            print(f"{package['name']} {package['version']}: {fault['id']}, fixed in {fixed}")
    print(f"{len(known)} of {len(packages)} packages audited")
    faulty = any(package["vulns"] for package in known)
    return 1 if faulty or len(known) < len(packages) else 0


if __name__ == "__main__":
    sys.exit(main())
