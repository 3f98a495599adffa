"""The settings that the lab gives JupyterLab are ones that it knows: it ignores a misspelt one."""

import json
import sys
from pathlib import Path

import jsonschema
import pytest

from lablib.jupyter.server import SETTINGS_DIR

JUPYTER = Path(sys.prefix) / "share" / "jupyter"
SETTINGS = json.loads((SETTINGS_DIR / "overrides.json").read_text())


@pytest.mark.parametrize("plugin", SETTINGS)
def test_each_setting_is_in_its_plugins_schema(plugin):
    package, name = plugin.split(":")
    (path,) = JUPYTER.glob(f"lab*/**/schemas/{package}/{name}.json")
    schema = json.loads(path.read_text())
    assert set(SETTINGS[plugin]) <= set(schema["properties"])
    jsonschema.validate(SETTINGS[plugin], schema)
