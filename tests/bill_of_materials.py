"""What runs beside us, written down: a bill of materials, and a lock with hashes. Both are about the installed package.

    python tests/bill_of_materials.py sbom > sbom.json
    pip install --dry-run --ignore-installed --quiet --report - -c requirements-ci.txt . \\
        | python tests/bill_of_materials.py lock > requirements.lock
    pip install --require-hashes -r requirements.lock && pip install --no-deps .

The bill is CycloneDX 1.6 and asks nobody: it is read from the metadata of what is installed, and holds what the
package needs at run time, not the tools that test it. The lock is made of pip's own report, so it is for the platform
and the Python that it was made on.

Sources: CycloneDX 1.6 JSON reference; pip's installation report, version 1; purl specification, type ``pypi``.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from typing import Any, Final

from packaging.requirements import Requirement

PACKAGE: Final = "claude-failover"


def canonical(name: str) -> str:
    """As in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(root: str = PACKAGE) -> dict[str, list[str]]:
    """Every distribution that *root* needs here at run time, itself included, and what each needs."""
    found: dict[str, list[str]] = {}
    waiting = [canonical(root)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        wanted = [Requirement(line) for line in importlib.metadata.distribution(name).requires or ()]
        here = {canonical(one.name) for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})}
        found[name] = sorted(here)
        waiting += here
    return dict(sorted(found.items()))


def component(name: str) -> dict[str, Any]:
    """One distribution, as CycloneDX says it."""
    metadata = importlib.metadata.metadata(name)
    version = metadata["Version"]
    named = [metadata[field] for field in ("License-Expression", "License") if field in metadata]
    licence = next(filter(None, named), "NOASSERTION")
    return {
        "type": "application" if name == PACKAGE else "library",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "licenses": [{"license": {"name": licence.splitlines()[0][:80]}}],
    }


def bill() -> dict[str, Any]:
    """The whole bill."""
    found = needed()
    parts = {name: component(name) for name in found}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": parts[PACKAGE]},
        "components": [part for name, part in parts.items() if name != PACKAGE],
        "dependencies": [
            {"ref": parts[name]["bom-ref"], "dependsOn": [parts[one]["bom-ref"] for one in wanted]}
            for name, wanted in found.items()
        ],
    }


def lock(report: dict[str, Any]) -> str:
    """Turn pip's report into requirements with hashes; what has none (the checkout itself) is left out."""
    lines = []
    for item in report["install"]:
        hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
        if "sha256" in hashes:
            name, version = canonical(item["metadata"]["name"]), item["metadata"]["version"]
            lines.append(f"{name}=={version} --hash=sha256:{hashes['sha256']}\n")
    return "".join(sorted(lines))


def main(arguments: list[str]) -> int:
    """Write what was asked for to standard output."""
    match arguments:
        case ["sbom"]:
            print(json.dumps(bill(), indent=2))
        case ["lock"]:
            sys.stdout.write(lock(json.load(sys.stdin)))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
