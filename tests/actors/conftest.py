"""The rig lies beside the tests, under a name of its own; logs are kept quiet."""

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("actors_rig", Path(__file__).parent / "rig.py")
assert _spec is not None
assert _spec.loader is not None
_rig = importlib.util.module_from_spec(_spec)
sys.modules["actors_rig"] = _rig
_spec.loader.exec_module(_rig)
