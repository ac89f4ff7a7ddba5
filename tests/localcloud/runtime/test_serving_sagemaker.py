"""The SageMaker model server: the contract of the inference toolkit, with real models in a real process."""

import contextlib
import io
import json
import pickle
import subprocess
import sys
import threading

import httpx
import joblib
import numpy as np
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from localcloud.runtime import process
from localcloud.runtime.serving import handlers, sagemaker
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression

DOUBLER = """
def model_fn(model_dir):
    return 2
def input_fn(data, content_type):
    assert isinstance(data, str)
    return float(data)
def predict_fn(data, model):
    return data * model
"""
PLACE = sagemaker.environment("123456789012", "eu-west-1", "flights")


def npy(values):
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


@pytest.fixture
def model(tmp_path):
    """A folder with an unpacked model."""
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    return folder


def fitted():
    return LinearRegression().fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0.0, 1.0, 2.0])


def write_code(model, text, name="inference.py"):
    (model / "code" / name).write_text(text)


@contextlib.contextmanager
def server(folder, model, env, wait_until):
    """A running server: its HTTP client (None when it ended by itself), its log in `folder`."""
    port, log = process.free_port(), folder / "server.log"
    command = [word.format(port=port) for word in sagemaker.command(model)]
    identity = process.spawn(command, env={**PLACE, **env}, cwd=folder, log=log, token=process.new_token("serving"))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        try:
            wait_until(lambda: pings(client) or not process.is_alive(identity))
            yield client if process.is_alive(identity) else None
        finally:
            process.stop([identity], 5)


@pytest.fixture
def serve(tmp_path, model, wait_until):
    """Starts the server on the model; gives an HTTP client."""
    with contextlib.ExitStack() as running:
        yield lambda env=None: running.enter_context(server(tmp_path, model, env or {}, wait_until))


@pytest.fixture(scope="module")
def fitted_server(tmp_path_factory, wait_until):
    """One server with a model of two features, for all tests that only ask."""
    folder = tmp_path_factory.mktemp("fitted")
    joblib.dump(fitted(), folder / "model.joblib")
    with server(folder, folder, {}, wait_until) as client:
        yield client


def pings(client):
    try:
        return client.get("/ping").status_code == 200
    except httpx.TransportError:
        return False


def invoke(client, body, content_type="application/json", **headers):
    return client.post("/invocations", content=body, headers={"content-type": content_type, **headers})


ROWS = [[1.0, 1.0], [2.0, 0.0]]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(json.dumps(ROWS), "application/json"), ("1,1\n2,0\n", "text/csv"), (npy(ROWS), "application/x-npy")],
)
@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_default_input_formats(fitted_server, body, content_type, accept):
    answer = invoke(fitted_server, body, content_type, accept=accept)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == pytest.approx([3.0, 2.0], abs=1e-5)


@pytest.mark.parametrize(
    ("accept", "read"),
    [
        ("application/json", json.loads),
        ("text/csv", lambda content: [float(line) for line in content.splitlines()]),
        ("application/x-npy", lambda content: np.load(io.BytesIO(content))),
    ],
)
def test_default_output_formats(fitted_server, accept, read):
    answer = invoke(fitted_server, json.dumps(ROWS), accept=accept)
    assert answer.headers["content-type"] == accept
    assert read(answer.content) == pytest.approx([3.0, 2.0], abs=1e-5)


def test_a_pickle_is_loaded_too(model):
    (model / "model.pkl").write_bytes(pickle.dumps(fitted()))
    assert handlers.load(model, {}).model.predict([[1.0, 1.0]]) == pytest.approx([3.0])


def test_functions_of_inference_py(serve, model):
    write_code(model, DOUBLER + "def output_fn(prediction, accept):\n    return f'<{prediction}>', 'text/html'\n")
    answer = invoke(serve(), "21", "text/csv")
    assert (answer.text, answer.headers["content-type"]) == ("<42.0>", "text/html")


def test_missing_functions_have_defaults(serve, model):
    write_code(model, DOUBLER)
    assert invoke(serve(), "21").json() == 42.0


def test_transform_fn_replaces_all_three(serve, model):
    write_code(
        model,
        "def model_fn(model_dir): return 'model'\n"
        "def transform_fn(model, data, content_type, accept):\n"
        "    return f'{model} {data!r} {content_type} {accept}'.encode()\n",
    )
    answer = invoke(serve(), b"\xff", "application/octet-stream", accept="text/plain")
    assert answer.text == "model b'\\xff' application/octet-stream text/plain"


def test_context_passes_custom_attributes_both_ways(serve, model):
    write_code(
        model,
        "NAME = 'X-Amzn-SageMaker-Custom-Attributes'\n"
        "def model_fn(model_dir, context): return context.system_properties['model_dir']\n"
        "def transform_fn(model, data, content_type, accept, context):\n"
        "    context.set_response_header(0, NAME, 'answer to ' + context.get_request_header(0, NAME))\n"
        "    return model\n",
    )
    answer = invoke(serve(), "1", **{"x-amzn-sagemaker-custom-attributes": "trace=7"})
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "answer to trace=7"
    assert answer.text == str(model)


def test_program_and_submit_directory_are_honoured(serve, model, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/helper.py").write_text("FACTOR = 3\n")
    (tmp_path / "elsewhere/serve.py").write_text(
        "from helper import FACTOR\ndef model_fn(model_dir): return FACTOR\n"
        "def predict_fn(data, model): return data * model\n"
    )
    client = serve({"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": str(tmp_path / "elsewhere")})
    assert invoke(client, "[1, 2]").json() == [3.0, 6.0]


def test_default_accept_can_be_set(serve, model):
    write_code(model, DOUBLER.replace("float(data)", "[float(data)]"))
    client = serve({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"})
    assert invoke(client, "1").headers["content-type"] == "text/csv"


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "whose", "words"),
    [
        ("x", "image/png", "application/json", 415, "client", "Content type image/png is not supported"),
        ("[[1, 1]]", "application/json", "image/png", 415, "client", "Content type image/png is not supported"),
        ("{not json", "application/json", "application/json", 500, "server", "JSONDecodeError"),
        ("[[1, 1, 1]]", "application/json", "application/json", 500, "server", "3 features"),
        ("1,1", "text/csv", "application/json", 500, "server", "Expected 2D array, got 1D"),
        (npy([{"a": 1}]), "application/x-npy", "application/json", 500, "server", "allow_pickle"),
    ],
)
def test_model_errors_have_the_shape_of_sagemaker(fitted_server, body, content_type, accept, status, whose, words):
    error = parsed_by_the_sdk(invoke(fitted_server, body, content_type, accept=accept))
    assert error["Error"]["Code"] == "ModelError"
    assert error["OriginalStatusCode"] == status
    assert words in error["OriginalMessage"]
    assert error["LogStreamArn"] == "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/flights"
    assert error["Error"]["Message"].startswith(f'Received {whose} error ({status}) from primary with message "')
    assert "in account 123456789012" in error["Error"]["Message"]


def parsed_by_the_sdk(answer):
    """As botocore makes the `response` of a ClientError."""
    service = ServiceModel(Loader().load_service_model("sagemaker-runtime", "service-2"))
    parser = create_parser("rest-json")
    raw = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content}
    error = parser.parse(raw, service.operation_model("InvokeEndpoint").output_shape)
    return error | parser.parse(raw, service.shape_for(error["Error"]["Code"]))


def test_an_error_may_choose_its_status_and_is_in_the_log(serve, model, tmp_path):
    write_code(
        model,
        "class TooMany(Exception): status_code = 413\n"
        "def model_fn(model_dir): return 1\n"
        "def input_fn(data, content_type): raise TooMany('at most ten rows')\n",
    )
    answer = invoke(serve(), "1")
    assert answer.status_code == 424
    assert answer.headers["x-amzn-errortype"] == "ModelError"
    assert answer.json()["OriginalStatusCode"] == 413
    assert answer.json()["ErrorCode"] == "CLIENT_ERROR_FROM_MODEL"
    assert "TooMany: at most ten rows" in (tmp_path / "server.log").read_text()


def test_output_that_cannot_be_sent_is_an_error(serve, model):
    write_code(model, DOUBLER + "def output_fn(prediction, accept): return {'answer': prediction}\n")
    assert "must return str or bytes" in invoke(serve(), "1").json()["OriginalMessage"]


def test_ping_answers_while_a_prediction_takes_long(serve, model):
    write_code(
        model, "import threading\nGO = threading.Event()\ndef model_fn(d): return 1\n"
        "def predict_fn(data, model):\n    GO.wait(1)\n    return data\n"
    )  # fmt: skip
    client = serve()
    with httpx.Client(base_url=client.base_url, trust_env=False) as other:
        done = []
        thread = threading.Thread(target=lambda: done.append(invoke(client, "1")))
        thread.start()
        assert other.get("/ping").status_code == 200
        assert not done
        thread.join()
    assert done[0].status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/invocations", 405), ("POST", "/ping", 405), ("GET", "/other", 404)]
)
def test_other_paths_and_methods(serve, model, method, path, status):
    write_code(model, DOUBLER)
    assert serve().request(method, path).status_code == status


def test_a_large_body_arrives_in_pieces(serve, model):
    write_code(model, "def model_fn(d): return 1\ndef transform_fn(model, data, kind, accept): return str(len(data))\n")
    assert invoke(serve(), b"x" * (5 << 20), "application/octet-stream").text == str(5 << 20)


@pytest.mark.parametrize(
    ("files", "env", "words"),
    [
        ({}, {}, ["no model_fn(model_dir)", "no *.joblib or *.pkl", "holds: code", "Add code/inference.py"]),
        ({"weights.bin": ""}, {}, ["holds: code, weights.bin"]),
        ({"a.pkl": "", "b.joblib": ""}, {}, ["several files could be the model (a.pkl, b.joblib)"]),
        ({"code/inference.py": "x = 1"}, {}, ["inference.py has no model_fn"]),
        ({}, {"SAGEMAKER_PROGRAM": "serve.py"}, ["SAGEMAKER_PROGRAM is 'serve.py'", "no such file"]),
        ({"code/inference.py": "def model_fn(a, b, c): pass"}, {}, ["model_fn takes 3 arguments but 1 were given"]),
        ({"code/inference.py": "def transform_fn(a,b,c,d): 1\ndef input_fn(a,b): 1"}, {}, ["Cannot use transform_fn"]),
        ({"code/inference.py": "import no_such_module"}, {}, ["ModuleNotFoundError", "no_such_module"]),
        ({"code/inference.py": "def model_fn(d): return open(d + '/gone')"}, {}, ["FileNotFoundError", "/gone"]),
    ],
)
def test_a_model_that_cannot_be_loaded_says_what_is_missing(serve, model, tmp_path, files, env, words):
    for name, text in files.items():
        (model / name).write_text(text)
    assert serve(env) is None
    log = (tmp_path / "server.log").read_text()
    for word in words:
        assert word in log


def test_loading_by_default_warns_that_the_vendor_does_not(model, capsys):
    joblib.dump(DummyRegressor(), model / "model.joblib")
    handlers.load(model, {})
    assert "add a model_fn before you deploy there" in capsys.readouterr().out


def test_importing_the_server_is_light():
    text = "import sys, localcloud.runtime.serving.sagemaker\nprint({'numpy', 'uvicorn', 'joblib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
