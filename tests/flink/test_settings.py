"""The files of the Flink cluster agree with each other and with the page. Starts nothing."""

from __future__ import annotations

from typing import Any

import yaml

from tests.flink.cluster import as_text, commands_of_the_page
from tests.support.packages import ROOT

FOLDER = ROOT / "pipelines" / "flink"
# What the operator gives itself: addresses and ports of pods, and Java's flags of its own image.
_OF_HOSTS = ("jobmanager.rpc.", "jobmanager.bind-host", "taskmanager.bind-host", "rest.", "env.java.opts.all")


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_deployment_has_the_settings_of_the_cluster() -> None:
    settings = {key: as_text(value) for key, value in read("pipelines/flink/config.yaml").items()}
    own = {key: value for key, value in settings.items() if not key.startswith(_OF_HOSTS)}
    assert read("pipelines/flink/deployment.yaml")["spec"]["flinkConfiguration"] == own


def test_the_deployment_has_a_pool_where_the_runner_looks_for_it() -> None:
    options, spec = read("runner_configs/flink.yaml"), read("pipelines/flink/deployment.yaml")["spec"]
    main, pool = spec["taskManager"]["podTemplate"]["spec"]["containers"]
    host, port = options["environment_config"].split(":")
    assert (host, options["environment_type"]) == ("localhost", "EXTERNAL")
    assert main["name"] == "flink-main-container", "the operator's name of its own container"
    assert pool["command"][-1] == f"--service_port={port}" and pool["ports"] == [{"containerPort": int(port)}]
    assert spec["flinkVersion"] == "v" + options["flink_version"].replace(".", "_")
    assert spec["taskManager"]["replicas"] == options["parallelism"]
    assert int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"]) == 1
    assert [f"--service_port={port}" in line for line in commands_of_the_page() if "worker_pool_main" in line] == [True]


def test_memory_of_pods_is_that_of_the_processes() -> None:
    spec = read("pipelines/flink/deployment.yaml")["spec"]
    for role in ("jobManager", "taskManager"):
        assert spec[role]["resource"]["memory"] == spec["flinkConfiguration"][f"{role.lower()}.memory.process.size"]


def test_every_setting_has_its_reason() -> None:
    blocks = (FOLDER / "config.yaml").read_text().split("\n\n")
    assert [block for block in blocks if not block.startswith("#")] == []


def test_the_makefile_takes_the_flink_of_the_page_and_of_the_runner() -> None:
    (line,) = [line for line in commands_of_the_page() if "apache-flink-libraries==" in line]
    version = line.rpartition("==")[2]
    assert version.startswith(f"{read('runner_configs/flink.yaml')['flink_version']}.")
    assert f"FLINK_VERSION := {version}\n" in (ROOT / "Makefile").read_text()
