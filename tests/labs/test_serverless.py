"""Packing, the trees as plain numbers, REPORT lines, and cold calls on the local cloud."""

from __future__ import annotations

import io
import json
import math
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

import labs
from labs import flights, plots, serverless
from labs.aws import Lab

COLD = (
    "START RequestId: 1 Version: $LATEST\nEND RequestId: 1\nREPORT RequestId: 1\tDuration: 3.20 ms\t"
    "Billed Duration: 1200 ms\tMemory Size: 1024 MB\tMax Memory Used: 171 MB\tInit Duration: 1196.10 ms\t\n"
)
HELLO = "COUNT = 0\ndef handler(event, context):\n    global COUNT\n    COUNT += 1\n    return [event, COUNT]\n"


@pytest.mark.parametrize(
    ("log", "figures"),
    [
        (COLD, (3.2, 1200, 1024, 171, 1196.1)),
        (COLD.replace("\tInit Duration: 1196.10 ms", ""), (3.2, 1200, 1024, 171, None)),
        (COLD + COLD.replace("3.20", "4.00").replace("\tInit Duration: 1196.10 ms", ""), (4.0, 1200, 1024, 171, None)),
    ],
)
def test_a_report_line(log: str, figures: tuple[Any, ...]) -> None:
    found = serverless.read_report(log)
    assert (found.duration_ms, found.billed_ms, found.memory_mb, found.used_mb, found.init_ms) == figures


def test_a_log_without_a_report() -> None:
    with pytest.raises(ValueError, match="no REPORT line"):
        serverless.read_report("START\nEND\n")


def test_code_is_packed_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x = 1\n")
    made = [serverless.pack_code(app_py=tmp_path / "app.py", model_json="{}") for _ in range(2)]
    assert made[0] == made[1]
    assert zipfile.ZipFile(io.BytesIO(made[0])).namelist() == ["app.py", "model.json"]


def test_a_layer_holds_what_a_package_needs_and_runs_from_bytecode(tmp_path: Path) -> None:
    layer = serverless.pack_layer("python-dateutil", folder=tmp_path)
    assert [each.rsplit("-", 1)[0] for each in layer.packages] == ["python-dateutil", "six"]
    with zipfile.ZipFile(layer.path) as archive:
        archive.extractall(tmp_path / "unpacked")
        names = archive.namelist()
        assert layer.unpacked_bytes == sum(each.file_size for each in archive.infolist())
    assert not [name for name in names if "/tests/" in name or not name.startswith("python/")]
    # Compiled once, when it was packed: the sources could be gone.
    source = tmp_path / "unpacked" / "python" / "dateutil" / "parser" / "_parser.py"
    source.write_text("raise ImportError('compiled anew')")
    program = "import dateutil.parser as p, sys; print(p.parse('2013-02-08').month, p.__file__)"
    env = {"PYTHONPATH": str(tmp_path / "unpacked" / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", program]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert answer.split() == ["2", str(source.with_name("__init__.py"))]


def test_a_layer_is_packed_once(tmp_path: Path) -> None:
    first = serverless.pack_layer("six", folder=tmp_path)
    before = first.path.stat().st_mtime_ns
    assert serverless.pack_layer("six", folder=tmp_path).path.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [first.path.name]


def test_a_package_that_is_missing_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(serverless.PackingError, match="no-such-package is not installed"):
        serverless.pack_layer("no-such-package", folder=tmp_path)
    monkeypatch.setattr(serverless, "MOST_UNPACKED_BYTES", 1000)
    with pytest.raises(serverless.PackingError, match=r"Lambda takes 1,000\. Leave a package out"):
        serverless.pack_layer("six", folder=tmp_path)


# --- The same answers from four functions ----------------------------------------------------------------------------

ASK = """
import importlib, json, sys
app = importlib.import_module(sys.argv[1])
for line in sys.stdin:
    print(json.loads(app.handler({'body': line}, None)['body'])['late'])
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, dict[str, Any]]:
    """A model fitted to noise with missing numbers, in both forms, with the functions beside it."""
    folder = tmp_path_factory.mktemp("task")
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(2000, len(flights.COLUMNS)))
    rows[generator.random(rows.shape) < 0.2] = np.nan
    late = (np.nan_to_num(rows[:, 0]) * np.nan_to_num(rows[:, 7], nan=1) + generator.normal(size=2000) > 0).astype(int)
    with threadpool_limits(1):
        classifier = HistGradientBoostingClassifier(max_iter=20, early_stopping=False, random_state=0).fit(rows, late)
    vocabulary = {name: {"A": 0, "B": 1} for name in flights.CATEGORIES}
    known = {"columns": list(flights.COLUMNS), "vocabulary": vocabulary}
    joblib.dump({**known, "classifier": classifier}, folder / "model.joblib")
    (folder / "model.json").write_text(json.dumps({**known, **flights.plain_trees(classifier)}))
    for path in flights.FUNCTIONS.glob("*.py"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder, classifier, vocabulary


def _flights(count: int) -> list[dict[str, Any]]:
    generator = random.Random(1)
    return [
        {
            name: generator.choice("ABZ") if name in flights.CATEGORIES else generator.choice([None, generator.gauss()])
            for name in flights.COLUMNS
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("function", ["notebook", "lazy", "arrays", "plain"])
def test_every_function_answers_as_scikit_learn_does(model: tuple[Path, Any, dict[str, Any]], function: str) -> None:
    folder, classifier, vocabulary = model
    asked = _flights(60)
    rows = [
        [vocabulary[name].get(value) if name in vocabulary else value for name, value in flight.items()]
        for flight in asked
    ]
    wanted = classifier.predict_proba(np.array(rows, dtype=float))[:, 1]
    env = {**os.environ, "LAMBDA_TASK_ROOT": str(folder), "PYTHONPATH": str(folder)}
    lines = "\n".join(json.dumps(flight) for flight in asked)
    command = [sys.executable, "-c", ASK, function]
    done = subprocess.run(command, input=lines, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [float(line) for line in done.stdout.split()]
    assert all(math.isclose(one, other, abs_tol=1e-6) for one, other in zip(found, wanted, strict=True))


def test_trees_that_cannot_be_written_plainly() -> None:
    rows = np.arange(300.0).reshape(-1, 1) % 7
    three = HistGradientBoostingClassifier(max_iter=2).fit(rows, (rows[:, 0] % 3).astype(int))
    with pytest.raises(ValueError, match="more than two classes"):
        flights.plain_trees(three)
    codes = HistGradientBoostingClassifier(max_iter=2, categorical_features=[True]).fit(rows, rows[:, 0] > 2)
    with pytest.raises(ValueError, match="split on categories"):
        flights.plain_trees(codes)


# --- On the local cloud ----------------------------------------------------------------------------------------------


@pytest.fixture
def lab(cloud: Any, monkeypatch: pytest.MonkeyPatch, clean_environment: None, request: Any) -> Iterator[Lab]:
    """A fresh tenant of the session's cloud."""
    monkeypatch.setenv("LAB_HOME", str(cloud.home.root))
    monkeypatch.setenv("LAB_TENANT_NAME", f"tests/serverless/{request.node.name}")
    made = labs.connect("local", lab="serverless")
    yield made
    made.cleanup()


@pytest.fixture
def hello(lab: Lab) -> str:
    """A function that counts its calls."""
    code = {"ZipFile": serverless.pack_code(app_py=HELLO)}
    serverless.create_function(lab, "hello", Handler="app.handler", Code=code)
    return "hello"


def test_first_calls_are_cold_and_others_are_not(lab: Lab, hello: str) -> None:
    found = serverless.first_calls(lab, {"hello": hello}, {"a": 1}, {"hello": 3})["hello"]
    assert [one.payload for one in found] == [[{"a": 1}, 1]] * 3
    assert all(one.client_ms > (one.report.init_ms or 0) > 0 for one in found)
    warm = serverless.call(lab, hello, {})
    assert (warm.payload, warm.report.init_ms) == ([{}, 2], None)


def test_provisioned_versions_start_beforehand(lab: Lab, hello: str) -> None:
    versions = serverless.publish_versions(lab, hello, 2)
    serverless.provision(lab, hello, versions)
    found = [serverless.call(lab, hello, {}, qualifier=version) for version in versions]
    assert [(one.payload, one.report.init_ms) for one in found] == [([{}, 1], None)] * 2
    serverless.release(lab, hello, versions)
    assert lab.spend().quantity("Provisioned concurrency x86", "GB-second") == 2 * 300 * 128 / 1024


def test_a_function_that_raises_is_not_measured(lab: Lab) -> None:
    code = {"ZipFile": serverless.pack_code(app_py="def handler(event, context):\n    return 1 / 0\n")}
    serverless.create_function(lab, "broken", Handler="app.handler", Code=code)
    with pytest.raises(serverless.FunctionFailedError, match="ZeroDivisionError"):
        serverless.call(lab, "broken", {})


def test_clean_up_leaves_no_function_layer_api_key_or_plan(lab: Lab, hello: str, tmp_path: Path) -> None:
    serverless.publish_layer(lab, "six", serverless.pack_layer("six", folder=tmp_path))
    gateway = lab.client("apigateway")
    api = gateway.create_rest_api(name="api")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    post = {"restApiId": api, "resourceId": root, "httpMethod": "POST"}
    gateway.put_method(**post, authorizationType="NONE", apiKeyRequired=True)
    uri = serverless.integration_uri(lab, serverless.arn(lab, hello))
    gateway.put_integration(**post, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    gateway.create_deployment(restApiId=api, stageName="v1")
    serverless.allow_gateway(lab, serverless.arn(lab, hello), api)
    plan = gateway.create_usage_plan(name="plan", apiStages=[{"apiId": api, "stage": "v1"}])["id"]
    key = gateway.create_api_key(name="key", enabled=True)["id"]
    gateway.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    kinds = {(each.service, each.kind) for each in lab.leftovers()}
    assert {("lambda", "function"), ("lambda", "layer"), ("apigateway", "REST API")} <= kinds
    lab.cleanup()
    assert lab.leftovers() == []


def test_boxes_show_every_name() -> None:
    figure = plots.boxes({"slow": [1000.0, 1200.0], "quick": [5.0, 6.0, 7.0]}, alt="two boxes", target=300)
    assert plots.alt_of(figure) == "two boxes"
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == ["slow", "quick"]
