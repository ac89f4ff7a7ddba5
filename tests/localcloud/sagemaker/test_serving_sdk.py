"""Serving with the vendor's own SDK, unmodified: sagemaker.core.resources and ModelBuilder."""

from __future__ import annotations

import json
import textwrap

import pytest

from .conftest import INFERENCE, archive, model_archive

pytestmark = pytest.mark.contract

PROGRAM = """
    import json
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.resources import Endpoint, EndpointConfig, Model
    from sagemaker.core.session_settings import SessionSettings
    from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
    from sagemaker.core.training.configs import SourceCode
    from sagemaker.serve import ModelBuilder
    result = {}

    def ask(name, endpoint):
        endpoint.wait_for_status("InService", poll=1)
        answer = endpoint.invoke(body=json.dumps([1, 2]), content_type="application/json").body
        result[name] = json.loads(answer.read() if hasattr(answer, "read") else answer)["answer"]
        endpoint.delete()

    container = ContainerDefinition(image=IMAGE, model_data_url=f"s3://{BUCKET}/models/complete.tar.gz")
    Model.create(model_name="resources", primary_container=container, execution_role_arn=ROLE)
    variant = ProductionVariant(
        variant_name="A", model_name="resources", instance_type=INSTANCE, initial_instance_count=1)
    EndpointConfig.create(endpoint_config_name="resources", production_variants=[variant])
    ask("resources", Endpoint.create(endpoint_name="resources", endpoint_config_name="resources"))

    def build(name, data, **options):
        builder = ModelBuilder(s3_model_data_url=f"s3://{BUCKET}/models/{data}.tar.gz", image_uri=IMAGE,
                               role_arn=ROLE, instance_type=INSTANCE, **options)
        builder.build(model_name=name)
        ask(name, builder.deploy(
            endpoint_name=name, initial_instance_count=1, instance_type=INSTANCE, wait=False))

    build("builder", "complete")
    settings = SessionSettings(encrypt_repacked_artifacts=False)
    build("builder-with-source", "bare", sagemaker_session=Session(settings=settings),
          source_code=SourceCode(source_dir="source", entry_script="inference.py"))
"""


@pytest.fixture(scope="module")
def answers(run_sdk, module_sagemaker, tmp_path_factory) -> dict[str, list[int]]:
    """What each way of serving answered to [1, 2]."""
    folder = tmp_path_factory.mktemp("serving")
    (folder / "source").mkdir()
    (folder / "source" / "inference.py").write_text(textwrap.dedent(INFERENCE.decode()))
    module_sagemaker.put("models/complete.tar.gz", model_archive(2))
    module_sagemaker.put("models/bare.tar.gz", archive({"model.json": json.dumps({"factor": 5}).encode()}))
    found: dict[str, list[int]] = run_sdk(PROGRAM, folder)
    return found


@pytest.mark.parametrize(
    ("way", "answer"), [("resources", [2, 4]), ("builder", [2, 4]), ("builder-with-source", [5, 10])]
)
def test_serves(answers, way, answer):
    assert answers[way] == answer
