"""Deployments behind the real gateway, driven by the vendor's SDK: created, updated under load, scaled, killed."""

import json
import subprocess
import threading
import time

import boto3
import joblib
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from localcloud.gateway.admin import Admin
from localcloud.gateway.gateway import Gateway
from localcloud.gateway.spec import Route
from localcloud.home import Home
from localcloud.loops import Loop
from localcloud.ports import NAMES
from localcloud.runtime import process
from localcloud.runtime.deployment import Deployments
from localcloud.runtime.serving import sagemaker
from localcloud.runtime.spec import Billing, DeploymentSpec, Limits, Pool
from localcloud.store import Store
from sklearn.linear_model import LinearRegression

TENANT, REGION, ENDPOINT = "123456789012", "us-east-1", "flights"
ID = f"{TENANT}-{REGION}-{ENDPOINT}"
CODE = "def model_fn(d): return {answer}\ndef predict_fn(data, model): return model\n"


class Cloud:
    """Envoy, the store and the deployments, without the rest of the control plane."""

    def __init__(self, folder):
        self.home = Home(folder).create()
        taken = []
        for _ in NAMES:
            taken.append(process.free_port(taken=taken))
        self.ports = dict(zip(NAMES, taken, strict=True))
        self.gateway = Gateway(self.home, self.ports)
        self.start_envoy()
        self.deployments = Deployments(Store(self.home.database), self.gateway, self.home)
        self.loop = Loop("reconcile", 0.25, self.deployments.reconcile)

    def start_envoy(self):
        self.gateway.write_bootstrap()
        self.envoy = subprocess.Popen(self.gateway.command(), start_new_session=True)

    def model(self, name, answer):
        folder = self.home.root / name
        (folder / "code").mkdir(parents=True)
        (folder / "code/inference.py").write_text(CODE.format(answer=answer))
        return folder

    def pool(self, folder, *, name="main", replicas=1, weight=1):
        return Pool(
            name=name,
            command=sagemaker.command(folder),
            env={**sagemaker.environment(TENANT, REGION, ENDPOINT), "OMP_NUM_THREADS": "1"},
            replicas=replicas,
            weight=weight,
            health_path="/ping",
            billing=Billing("aws", "SageMaker AI", "ml.m5.large Hosting", ENDPOINT),
            log=self.home.logs,
            limits=Limits(stop_grace_seconds=10.0),
            response_headers={"x-amzn-invoked-production-variant": name},
        )

    def apply(self, *pools):
        route = Route(
            listener="aws",
            path=f"/endpoints/{ENDPOINT}/invocations",
            header_prefixes={"authorization": f"AWS4-HMAC-SHA256 Credential={TENANT}/"},
            header_contains={"authorization": f"/{REGION}/sagemaker/"},
            pin_header="x-amzn-sagemaker-target-variant",
            rewrite_path="/invocations",
            labels={"tenant": TENANT, "region": REGION, "service": "sagemaker-runtime", "resource": ENDPOINT},
        )
        self.deployments.apply(DeploymentSpec(ID, TENANT, REGION, route, pools))

    @property
    def state(self):
        found = self.deployments.status(ID)
        return found and found.state


@pytest.fixture
def cloud(tmp_path, wait_until):
    made = Cloud(tmp_path / "home")
    wait_until(Admin(made.ports["envoy_admin"]).is_ready)
    made.gateway.set_tenants({TENANT: time.time() + 3600})
    made.loop.start()
    yield made
    made.deployments.delete(ID)
    wait_until(lambda: not made.deployments.replicas())
    made.loop.stop()
    made.deployments.close()
    made.envoy.kill()
    made.envoy.wait()


@pytest.fixture
def runtime(cloud):
    return boto3.session.Session().client(
        "sagemaker-runtime",
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{cloud.ports['aws']}",
        aws_access_key_id=TENANT,
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def invoke(runtime, body="[[1, 1]]", **more):
    answer = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="application/json", Body=body, **more)
    return float(answer["Body"].read()), answer["InvokedProductionVariant"]


def test_update_under_load_loses_no_request(cloud, runtime, wait_until):
    cloud.apply(cloud.pool(cloud.model("one", 1), replicas=2))
    wait_until(lambda: cloud.state == "in-service")
    answers, errors, stop = [], [], threading.Event()

    def client():
        while not stop.is_set():
            try:
                answers.append(invoke(runtime))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 50)
    cloud.apply(cloud.pool(cloud.model("two", 2), name="new", replicas=2))
    wait_until(lambda: cloud.state == "in-service")
    wait_until(lambda: len(cloud.deployments.replicas()) == 2)
    cloud.deployments.set_pools(ID, {"new": (1, 3)})
    wait_until(lambda: cloud.state == "in-service")
    cloud.deployments.set_pools(ID, {"new": (1, 1)})
    wait_until(lambda: cloud.state == "in-service" and len(cloud.deployments.replicas()) == 1)
    seen = len(answers)
    wait_until(lambda: len(answers) > seen + 50)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert answers[0] == (1.0, "main")
    assert set(answers[-20:]) == {(2.0, "new")}


def test_variants_can_be_pinned_and_split(cloud, runtime, wait_until):
    cloud.apply(
        cloud.pool(cloud.model("a", 1), name="a", weight=3), cloud.pool(cloud.model("b", 2), name="b", weight=0)
    )
    wait_until(lambda: cloud.state == "in-service")
    assert {invoke(runtime) for _ in range(20)} == {(1.0, "a")}
    assert invoke(runtime, TargetVariant="b") == (2.0, "b")
    cloud.deployments.set_pools(ID, {"b": (3, 1)})
    wait_until(lambda: cloud.state == "in-service")
    assert {invoke(runtime) for _ in range(60)} == {(1.0, "a"), (2.0, "b")}


def test_a_killed_replica_is_replaced_while_the_other_serves(cloud, runtime, wait_until):
    cloud.apply(cloud.pool(cloud.model("one", 1), replicas=2))
    wait_until(lambda: cloud.state == "in-service")
    assert cloud.deployments.kill_replica(ID)
    assert [invoke(runtime)[0] for _ in range(50)] == [1.0] * 50
    wait_until(lambda: cloud.deployments.status(ID).pools[0].healthy == 2)


def test_a_scikit_learn_model_and_its_errors_through_the_sdk(cloud, runtime, wait_until):
    folder = cloud.home.root / "sklearn"
    folder.mkdir()
    joblib.dump(LinearRegression().fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0.0, 1.0, 2.0]), folder / "model.joblib")
    cloud.apply(cloud.pool(folder))
    wait_until(lambda: cloud.state == "in-service")
    answer = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="text/csv", Body="1,1\n2,0")
    assert answer["ContentType"] == "application/json"
    assert json.loads(answer["Body"].read()) == pytest.approx([3.0, 2.0], abs=1e-5)
    with pytest.raises(runtime.exceptions.ModelError) as caught:
        invoke(runtime, "[[1, 1, 1]]")
    response = caught.value.response
    assert response["OriginalStatusCode"] == 500
    assert "3 features" in response["OriginalMessage"]
    assert response["LogStreamArn"].endswith("/aws/sagemaker/Endpoints/flights")


def test_nothing_is_routed_after_deletion(cloud, runtime, wait_until):
    cloud.apply(cloud.pool(cloud.model("one", 1)))
    wait_until(lambda: cloud.state == "in-service")
    cloud.deployments.delete(ID)
    wait_until(lambda: cloud.state is None)
    with pytest.raises(ClientError):
        invoke(runtime)


def test_an_update_goes_on_when_envoy_is_killed(cloud, runtime, wait_until):
    cloud.apply(cloud.pool(cloud.model("one", 1)))
    wait_until(lambda: cloud.state == "in-service")
    cloud.apply(cloud.pool(cloud.model("two", 2)))
    cloud.envoy.kill()
    cloud.envoy.wait()
    wait_until(lambda: [each.state for each in cloud.deployments.replicas()] == ["ready", "ready"])
    assert cloud.state == "updating"
    cloud.start_envoy()
    wait_until(lambda: cloud.state == "in-service", timeout=60)
    assert invoke(runtime) == (2.0, "main")
