"""What runs in the Python process of a ``python`` remedy: imports the entry point and calls it.

    python -P python_call.py module:function

The parameters come as JSON in ``SLAKEEPER_PARAMETERS``. Exit code 0, or 1 for False or an exception, whose
traceback goes to the output. This file imports nothing of ours: it starts often, and must start fast.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any


def call(entry: str, parameters: dict[str, Any]) -> Any:
    """Calls ``module:attribute.attribute`` with the parameters as keywords.

    Raises:
        Exception: whatever the import or the call raises.
    """
    module_name, _, path = entry.partition(":")
    function: Any = importlib.import_module(module_name)
    for name in path.split("."):
        function = getattr(function, name)
    return function(**parameters)


def main() -> int:
    """The exit code."""
    try:
        result = call(sys.argv[1], json.loads(os.environ.get("SLAKEEPER_PARAMETERS", "{}")))
    except Exception:  # noqa: BLE001 # whatever goes wrong in somebody's function is this run's result
        traceback.print_exc()
        return 1
    if result is not None:
        sys.stdout.write(f"{result}\n")
    return 1 if result is False else 0


if __name__ == "__main__":
    sys.exit(main())
