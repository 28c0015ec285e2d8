"""Print the results of `pytest bench --benchmark-json FILE` as a table: `python
bench/table.py FILE`.
"""

import json
import sys
from pathlib import Path

from engine import native


def main(path: Path) -> None:
    """One row a benchmark: its name, its ratio to the baseline of the same run, and what
    else it found.
    """
    results = json.loads(path.read_text())
    machine = results["machine_info"]
    print(f"native: {native.DESCRIPTION}")
    print(f"Python {machine['python_version']}, {machine.get('cpu', {}).get('brand_raw', machine['processor'])}, "
          f"{machine.get('cpu', {}).get('count', '?')} cores")  # fmt: skip
    print()
    print("| benchmark | × baseline | figures |")
    print("|---|---:|---|")
    for result in results["benchmarks"]:
        found = dict(result["extra_info"])
        ratio = found.pop("ratio", "")
        figures = ", ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
                            for name, value in found.items())  # fmt: skip
        print(f"| {result['name']} | {ratio} | {figures} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
