"""Millstream for Apache Airflow.

The wheel carries the binary `millstream`. `MillstreamOperator` runs a flow of a pipeline,
`MillstreamSensor` waits until a flow's workers have caught up, and the connection type `millstream`
keeps addresses and passwords.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def get_provider_info() -> dict[str, Any]:
    """What Airflow wants to know of a provider; found through the package's entry point."""
    name = "Millstream"
    text = {"type": ["string", "null"]}
    return {
        "package-name": "airflow-provider-millstream",
        "name": name,
        "description": "Runs Millstream's pipelines: API, Kafka, SQL, Cassandra.",
        "versions": [version("airflow-provider-millstream")],
        "integrations": [{"integration-name": name, "tags": ["software"]}],
        "operators": [
            {"integration-name": name, "python-modules": ["millstream_provider.operators"]}
        ],
        "sensors": [{"integration-name": name, "python-modules": ["millstream_provider.sensors"]}],
        "hooks": [{"integration-name": name, "python-modules": ["millstream_provider.hooks"]}],
        "triggers": [
            {"integration-name": name, "python-modules": ["millstream_provider.triggers"]}
        ],
        "connection-types": [
            {
                "connection-type": "millstream",
                "hook-class-name": "millstream_provider.hooks.MillstreamHook",
                "hook-name": name,
                "conn-fields": {
                    "kafka_brokers": {
                        "label": "Kafka brokers",
                        "description": "KAFKA_BROKERS, like kafka:9092",
                        "schema": text,
                    },
                    "cassandra_hosts": {
                        "label": "Cassandra hosts",
                        "description": "CASSANDRA_HOSTS, like cassandra:9042",
                        "schema": text,
                    },
                    "spark_connect": {
                        "label": "Spark Connect",
                        "description": "SPARK_CONNECT, like sc://spark:15002",
                        "schema": text,
                    },
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "port", "schema", "login", "password"],
                    "relabeling": {"extra": "More variables"},
                    "placeholders": {"extra": '{"cassandra_password": "…"}'},
                },
            }
        ],
    }
