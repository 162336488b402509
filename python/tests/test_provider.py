"""What Airflow is told of the provider."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files

import jsonschema

from millstream_provider import get_provider_info


def test_airflow_finds_it_and_takes_what_it_says() -> None:
    (found,) = entry_points(group="apache_airflow_provider", module="millstream_provider")
    info = found.load()()
    assert info == get_provider_info()
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)


def test_every_module_that_it_names_is_there() -> None:
    info = get_provider_info()
    for kind in ("operators", "sensors", "hooks", "triggers"):
        for module in info[kind][0]["python-modules"]:
            import_module(module)
    for connection in info["connection-types"]:
        module, name = connection["hook-class-name"].rsplit(".", 1)
        assert getattr(import_module(module), name).conn_type == connection["connection-type"]
