"""The scripts a learner reads: what train.py writes, inference.py serves; sharing, resuming and refusing."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labs import flights

TRAIN = flights.SCRIPTS / "train.py"
SWEEP = 6


@pytest.fixture(scope="module")
def channels(tmp_path_factory):
    """Two small channels, written once."""
    folder = tmp_path_factory.mktemp("channels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_HOME", str(tmp_path_factory.mktemp("home")))
        written = flights.write_training_channel(folder, rows=3_000)
    head = (written.validation / "flights.csv").read_text().splitlines(keepends=True)[:1_001]
    (written.validation / "flights.csv").write_text("".join(head))
    return written


def environment(folder, channels, host="algo-1", hosts=("algo-1",)):
    return {
        "PATH": os.environ["PATH"],
        "SM_CHANNEL_TRAIN": str(channels.train),
        "SM_CHANNEL_VALIDATION": str(channels.validation),
        "SM_MODEL_DIR": str(folder / "model"),
        "SM_OUTPUT_FAILURE": str(folder / "failure"),
        "SM_HOSTS": json.dumps(list(hosts)),
        "SM_CURRENT_HOST": host,
    }


def start(folder, channels, *args, **where):
    command = [sys.executable, str(TRAIN), "--checkpoints", str(folder / "checkpoints"), *args]
    return subprocess.Popen(
        command, env=environment(folder, channels, **where), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def train(folder, channels, *args, **where):
    process = start(folder, channels, *args, **where)
    log, _ = process.communicate()
    return process.returncode, log


def ask(model, script="", **env):
    """Run inference.py from the model's own code folder, as a container does, on three flights."""
    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1] + '/code'); import inference as it\n"
        f"{script}\n"
        "model = it.model_fn(sys.argv[1])\n"
        "def answer(body, kind, accept): return it.output_fn(it.predict_fn(it.input_fn(body, kind), model), accept)\n"
    )
    return lambda ending: subprocess.run(
        [sys.executable, "-c", program + ending, str(model)], capture_output=True, text=True, env={**os.environ, **env}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, channels):
    folder = tmp_path_factory.mktemp("trained")
    code, log = train(folder, channels, "--max_iter", "20")
    assert code == 0, log
    return folder / "model", log


def test_what_a_job_leaves(trained):
    model, log = trained
    names = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert names == {"model.joblib", "model.json", "code/inference.py"}
    about = json.loads((model / "model.json").read_text())
    assert set(about["versions"]) == {"scikit-learn", "numpy"}
    assert f"validation:auc={about['auc']:.4f};" in log


def test_the_trained_model_answers_in_both_formats(trained):
    row = flights_row()
    cases = f"""
row = {row!r}
print(answer(json.dumps({{"instances": [row, row]}}), "application/json", "application/json")[0])
print(answer(",".join(str(row[name]) for name in it.COLUMNS).encode(), "text/csv", "text/csv")[0])
"""
    ran = ask(trained[0])(cases)
    assert ran.returncode == 0, ran.stderr
    first, second = ran.stdout.split("\n")[:2]
    twice = json.loads(first)["predictions"]
    assert twice == [float(second)] * 2
    assert 0 < twice[0] < 1


def flights_row():
    weather = {"temp": 80.1, "humid": 62.3, "wind_speed": 9.2, "precip": 0.0, "pressure": 1021.9, "visib": 10.0}
    return {
        "month": 7, "weekday": 1, "hour": 8, "carrier": "DL", "origin": "LGA", "region": "eastern", "distance": 762,
        **weather,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        ('{"instances": [{"dep_delay": 5}]}', "application/json", "Unknown columns ['dep_delay']"),
        ("1,2,3", "text/csv", "Got 3 values, need 13"),
        ("<row/>", "application/xml", "Cannot read application/xml"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(trained, body, kind, reason):
    ran = ask(trained[0])(f"answer({body!r}, {kind!r}, 'application/json')")
    assert ran.returncode != 0
    assert reason in ran.stderr


def test_missing_and_unknown_values_are_predicted(trained):
    row = {**flights_row(), "carrier": "ZZ", "temp": None}
    body = json.dumps({"instances": [row, {}]})
    ran = ask(trained[0])(f"print(answer({body!r}, 'application/json', 'application/json')[0])")
    assert len(json.loads(ran.stdout)["predictions"]) == 2


@pytest.mark.parametrize(("library", "version"), [("scikit-learn", "1.4.2"), ("numpy", "1.26.4")])
def test_a_model_of_another_version_is_refused(trained, tmp_path, library, version):
    model = shutil.copytree(trained[0], tmp_path / "model")
    about = json.loads((model / "model.json").read_text())
    about["versions"][library] = version
    (model / "model.json").write_text(json.dumps(about))
    ran = ask(model)("")
    assert ran.returncode != 0
    assert version in ran.stderr
    assert "Train it again in the image that serves it" in ran.stderr


def test_an_empty_model_folder_is_refused(trained, tmp_path):
    shutil.copytree(trained[0] / "code", tmp_path / "code")
    assert "No model*.json" in ask(tmp_path)("").stderr


@pytest.mark.parametrize("share", ["interleaved", "balanced"])
def test_two_instances_try_every_setting_once(tmp_path, channels, share):
    hosts = ("algo-1", "algo-2")
    together = [
        start(tmp_path, channels, "--sweep", str(SWEEP), "--share", share, host=host, hosts=hosts) for host in hosts
    ]
    logs = [process.communicate()[0] for process in together]
    assert [process.returncode for process in together] == [0, 0], logs
    tried = [json.dumps(entry["setting"]) for host in hosts for entry in checkpoint(tmp_path, host)]
    assert len(tried) == len(set(tried)) == SWEEP
    model = tmp_path / "model"
    assert {path.name for path in model.glob("*.json")} == {f"model-{host}.json" for host in hosts}
    best = max(json.loads(path.read_text())["auc"] for path in model.glob("*.json"))
    ran = ask(model)("print(model is not None)")
    assert ran.stdout == "True\n"
    assert best == max(entry["auc"] for host in hosts for entry in checkpoint(tmp_path, host))


def checkpoint(folder, host):
    path = folder / "checkpoints" / f"{host}.json"
    return json.loads(path.read_text()) if path.exists() else []


def test_a_killed_sweep_goes_on_where_it_was(tmp_path, channels):
    first = start(tmp_path, channels, "--sweep", str(SWEEP))
    deadline = time.monotonic() + 60
    while not checkpoint(tmp_path, "algo-1") and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = checkpoint(tmp_path, "algo-1")
    assert 1 <= len(done) < SWEEP
    code, log = train(tmp_path, channels, "--sweep", str(SWEEP))
    assert code == 0, log
    assert f"checkpoint found: {len(done)} of {SWEEP}" in log
    assert log.count("fit_seconds=") == SWEEP - len(done)
    assert checkpoint(tmp_path, "algo-1")[: len(done)] == done


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--learning_rate", "-0.1"], "ValueError: learning_rate is -0.1, must be above 0"),
        (["--train", "/nowhere"], "FileNotFoundError: No CSV file in channel /nowhere"),
    ],
)
def test_a_failure_leaves_its_reason(tmp_path, channels, args, reason):
    code, log = train(tmp_path, channels, *args)
    assert code == 1
    assert reason in log
    assert (tmp_path / "failure").read_text().startswith(reason)
    assert "Traceback" not in log


def test_a_channel_without_a_column_is_named(tmp_path, channels):
    short = tmp_path / "short"
    short.mkdir()
    (short / "flights.csv").write_text("month,late\n1,0\n")
    code, log = train(tmp_path, channels, "--train", str(short))
    assert code == 1
    assert "lacks the columns ['carrier'" in log


@pytest.mark.parametrize("script", ["train.py", "inference.py"])
def test_the_scripts_are_python_3_10(script):
    """The container sagemaker-scikit-learn:1.4-2 runs Python 3.10."""
    ast.parse((flights.SCRIPTS / script).read_text(), feature_version=(3, 10))


def test_the_scripts_and_the_package_agree(tmp_path):
    program = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import inference; print(json.dumps(inference.COLUMNS))"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(flights.SCRIPTS)], capture_output=True, text=True)
    assert tuple(json.loads(ran.stdout)) == flights.COLUMNS


def test_the_scripts_need_nothing_of_the_kit():
    for script in Path(flights.SCRIPTS).glob("[a-z]*.py"):
        assert "labs" not in {
            name.split(".")[0]
            for node in ast.walk(ast.parse(script.read_text()))
            if isinstance(node, ast.ImportFrom)
            for name in [node.module or ""]
        }
