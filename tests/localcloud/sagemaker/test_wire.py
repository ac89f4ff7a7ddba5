"""The wire format: validation in the real service's words, errors, shapes of every implemented operation's answer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError
from localcloud.aws.sagemaker.facade import OPERATIONS

from .conftest import INSTANCE, model_archive

ARNS = "arn:aws:sagemaker:us-east-1:123456789012"
IMAGE = "1.dkr.ecr.us-east-1.amazonaws.com/x:1"


def post(cloud, tenant, target, body, **headers):
    """A raw request; status, error type and message."""
    scope = f"{tenant.account}/20260101/us-east-1/sagemaker/aws4_request"
    request = urllib.request.Request(
        cloud.url,
        data=body,
        headers={
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "X-Amz-Target": target,
            "Content-Type": "application/x-amz-json-1.1",
            **headers,
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, "", json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())
        return error.code, found["__type"], found["message"]


NAME_PATTERN = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


@pytest.mark.parametrize(
    ("operation", "request_body", "code", "message"),
    [
        (
            "DescribeTrainingJob", {"TrainingJobName": "a_b"}, "ValidationException",
            "1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must"
            f" satisfy regular expression pattern: {NAME_PATTERN}",
        ),
        (
            "DescribeEndpoint", {}, "ValidationException",
            "1 validation error detected: Value null at 'endpointName' failed to satisfy constraint: Member must not be"
            " null",
        ),
        (
            "DescribeModel", {"ModelName": "x" * 64}, "ValidationException",
            "Member must have length less than or equal to 63",
        ),
        ("ListModels", {"MaxResults": 101}, "ValidationException", "Member must have value less than or equal to 100"),
        ("ListModels", {"SortBy": "Size"}, "ValidationException", "Member must satisfy enum value set: [Name, C"),
        ("ListModels", {"MaxResults": "10"}, "SerializationException", "STRING_VALUE can not be converted to an Int"),
        ("DescribeModel", {"ModelName": 5}, "SerializationException", "NUMBER_VALUE can not be converted to a String"),
        (
            "CreateEndpointConfig",
            {"EndpointConfigName": "c", "ProductionVariants": [{"VariantName": "_"}, {"InitialInstanceCount": 0}]},
            "ValidationException",
            "3 validation errors detected: Value '_' at 'productionVariants.1.member.variantName'",
        ),
        (
            "AddTags", {"ResourceArn": f"{ARNS}:model/m", "Tags": [{"Key": "k"}]},
            "ValidationException", "Value null at 'tags.1.member.value' failed to satisfy constraint",
        ),
        ("ListModels", {"NextToken": "rubbish"}, "ValidationException", "Invalid NextToken"),
        ("DescribeTrainingJob", {"TrainingJobName": "no"}, "ValidationException", "Requested resource not found."),
        ("DescribeModel", {"ModelName": "no"}, "ValidationException", 'Could not find model "arn:aws:sagemaker:'),
        ("DescribeEndpoint", {"EndpointName": "no"}, "ValidationException", 'Could not find endpoint "arn:aws:sage'),
        ("ListTags", {"ResourceArn": f"{ARNS}:model/m"}, "ValidationException", "Could not find"),
        (
            "CreateTransformJob", {}, "NotImplemented",
            "NotImplemented: CreateTransformJob is not part of the local cloud. Implemented: lab coverage",
        ),
        ("MakeCoffee", {}, "UnknownOperationException", "SageMaker.MakeCoffee is not a SageMaker operation."),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_in_the_vendors_words(cloud, tenant, operation, request_body, code, message):
    _, found, text = post(cloud, tenant, f"SageMaker.{operation}", json.dumps(request_body).encode())
    assert found == code
    assert message in text


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_body_that_is_no_object_is_refused(cloud, tenant, body):
    status, code, _ = post(cloud, tenant, "SageMaker.ListModels", body)
    assert (status, code) == (400, "SerializationException")


def test_unimplemented_operation_is_an_ordinary_sdk_error(sagemaker):
    with pytest.raises(ClientError, match=r"is not part of the local cloud\. Implemented: lab coverage"):
        sagemaker.client.list_transform_jobs()


def test_operations_are_the_vendors(sagemaker):
    assert set(OPERATIONS) <= set(sagemaker.client.meta.service_model.operation_names)


def requests(sagemaker, arns):
    """One good request for each implemented operation, in an order in which they can be made."""
    container = {"Image": IMAGE, "ModelDataUrl": sagemaker.put("models/m.tar.gz", model_archive(2))}
    variant = {"VariantName": "A", "ModelName": "m", "InstanceType": INSTANCE, "InitialInstanceCount": 1}
    role = {"ExecutionRoleArn": sagemaker.role}
    contents = {"Containers": [container], "SupportedContentTypes": ["a/b"], "SupportedResponseMIMETypes": ["a/b"]}
    model, package = f"{arns}:model/m", f"{arns}:model-package/g/1"
    job = sagemaker.job_request("j", "print('accuracy=0.5')")
    return [
        ("CreateModel", {"ModelName": "m", "PrimaryContainer": container, **role}),
        ("DescribeModel", {"ModelName": "m"}),
        ("ListModels", {}),
        ("AddTags", {"ResourceArn": model, "Tags": [{"Key": "a", "Value": "b"}]}),
        ("ListTags", {"ResourceArn": model}),
        ("DeleteTags", {"ResourceArn": model, "TagKeys": ["a"]}),
        ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant]}),
        ("DescribeEndpointConfig", {"EndpointConfigName": "c"}),
        ("ListEndpointConfigs", {}),
        ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
        ("DescribeEndpoint", {"EndpointName": "e"}),
        ("ListEndpoints", {}),
        ("settled", "e"),
        ("UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
        ("DescribeEndpoint", {"EndpointName": "e"}),
        ("settled", "e"),
        (
            "UpdateEndpointWeightsAndCapacities",
            {"EndpointName": "e", "DesiredWeightsAndCapacities": [{"VariantName": "A", "DesiredWeight": 2}]},
        ),
        ("settled", "e"),
        ("DescribeEndpoint", {"EndpointName": "e"}),
        ("DeleteEndpoint", {"EndpointName": "e"}),
        ("DeleteEndpointConfig", {"EndpointConfigName": "c"}),
        ("DeleteModel", {"ModelName": "m"}),
        ("CreateModelPackageGroup", {"ModelPackageGroupName": "g"}),
        ("DescribeModelPackageGroup", {"ModelPackageGroupName": "g"}),
        ("ListModelPackageGroups", {}),
        ("CreateModelPackage", {"ModelPackageGroupName": "g", "InferenceSpecification": contents}),
        ("DescribeModelPackage", {"ModelPackageName": package}),
        ("BatchDescribeModelPackage", {"ModelPackageArnList": [package, f"{package}0"]}),
        ("UpdateModelPackage", {"ModelPackageArn": package, "ModelApprovalStatus": "Approved"}),
        ("ListModelPackages", {"ModelPackageGroupName": "g"}),
        ("DeleteModelPackage", {"ModelPackageName": package}),
        ("DeleteModelPackageGroup", {"ModelPackageGroupName": "g"}),
        ("CreateTrainingJob", job),
        ("DescribeTrainingJob", {"TrainingJobName": "j"}),
        ("ListTrainingJobs", {}),
        ("ended", "j"),
        ("DeleteTrainingJob", {"TrainingJobName": "j"}),
        ("CreateTrainingJob", sagemaker.job_request("k", "import time; time.sleep(600)")),
        ("StopTrainingJob", {"TrainingJobName": "k"}),
        ("ended", "k"),
    ]


def test_every_answer_has_the_vendors_shape(sagemaker):
    """The client checks each raw answer (shapes.py); here every implemented operation is called."""
    arns = f"arn:aws:sagemaker:us-east-1:{sagemaker.account}"
    table = requests(sagemaker, arns)
    assert {operation for operation, _ in table} - {"settled", "ended"} == set(OPERATIONS)
    for operation, request in table:
        if operation in ("settled", "ended"):
            getattr(sagemaker, operation)(request)
        else:
            sagemaker.client._make_api_call(operation, request)
