"""List operations: pages, filters and order; tags; the registry's queries."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from localcloud.aws.sagemaker.listing import Listing, page


@pytest.fixture
def models(sagemaker):
    """Twelve models, two of which are called special."""
    for number in range(12):
        name = f"special-{number}" if number in (3, 7) else f"model-{number:02}"
        sagemaker.model(name, None)
    return sagemaker.client


def names(answer):
    return [each["ModelName"] for each in answer["Models"]]


def test_pages_hold_everything_once(models):
    first = models.list_models(MaxResults=5)
    assert len(names(first)) == 5
    pages = models.get_paginator("list_models").paginate(PaginationConfig={"PageSize": 5})
    found = [name for answer in pages for name in names(answer)]
    assert len(found) == len(set(found)) == 12
    assert names(models.list_models()) == found[:10], "ten at a time, newest first, as on AWS"


def test_filters_and_order(models):
    assert names(models.list_models(NameContains="special", SortBy="Name", SortOrder="Ascending")) == [
        "special-3",
        "special-7",
    ]
    hour = timedelta(hours=1)
    created = models.describe_model(ModelName="model-05")["CreationTime"]
    assert names(models.list_models(CreationTimeAfter=created + hour)) == []
    assert names(models.list_models(CreationTimeBefore=created - hour)) == []
    assert len(names(models.list_models(CreationTimeAfter=created - hour, CreationTimeBefore=created + hour))) == 10


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"CreationTimeAfter": 2}, "bc"),
        ({"CreationTimeBefore": 2}, "ab"),
        ({"LastModifiedTimeAfter": 20}, "bc"),
        ({"LastModifiedTimeBefore": 20, "CreationTimeAfter": 2}, "b"),
        ({"StatusEquals": "InService"}, "c"),
        ({"NameContains": "B"}, "b"),
        ({"SortBy": "Status"}, "acb"),
        ({"SortBy": "Status", "SortOrder": "Descending", "MaxResults": 1}, "b"),
    ],
)
def test_each_filter(request_, expected):
    listing = Listing(answer="Things", name="Name", status="Status")
    statuses = ("Failed", "Updating", "InService")
    things = [
        {"Name": name, "CreationTime": number, "LastModifiedTime": 10 * number, "Status": statuses[number - 1]}
        for number, name in enumerate("abc", start=1)
    ]
    assert "".join(each["Name"] for each in page(listing, things, request_)["Things"]) == expected


def test_deleting_between_pages_loses_nothing(models):
    first = models.list_models(MaxResults=4, SortBy="Name", SortOrder="Ascending")
    models.delete_model(ModelName=names(first)[0])
    second = models.list_models(MaxResults=4, SortBy="Name", SortOrder="Ascending", NextToken=first["NextToken"])
    assert names(second) == ["model-05", "model-06", "model-08", "model-09"]


@given(
    count=st.integers(0, 30),
    size=st.integers(1, 10),
    order=st.sampled_from(["Ascending", "Descending"]),
    ties=st.integers(1, 4),
)
def test_pages_concatenate_to_the_whole_list(count, size, order, ties):
    listing = Listing(answer="Things", name="Name")
    things = [{"Name": f"n{number:03}", "CreationTime": float(number // ties)} for number in range(count)]
    found, token = [], {}
    while True:
        answer = page(listing, things, {"MaxResults": size, "SortOrder": order, **token})
        found += answer["Things"]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert found == (things if order == "Ascending" else things[::-1])


def test_tags_of_every_kind(sagemaker):
    client = sagemaker.client
    tag = [{"Key": "team", "Value": "delays"}]
    arns = [
        client.create_model(ModelName="m", ExecutionRoleArn=sagemaker.role, Tags=tag,
                            PrimaryContainer={"Image": sagemaker.image})["ModelArn"],
        client.create_endpoint_config(EndpointConfigName="c", Tags=tag, ProductionVariants=[
            {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ])["EndpointConfigArn"],
        client.create_model_package_group(ModelPackageGroupName="g", Tags=tag)["ModelPackageGroupArn"],
    ]  # fmt: skip
    for arn in arns:
        assert client.list_tags(ResourceArn=arn)["Tags"] == tag
        client.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "x"}, {"Key": "other", "Value": "y"}])
        client.delete_tags(ResourceArn=arn, TagKeys=["team", "unknown"])
        assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "other", "Value": "y"}]


def package(sagemaker, **more):
    contents = {
        "Containers": [{"Image": sagemaker.image, "ModelDataUrl": f"s3://{sagemaker.bucket}/m.tar.gz"}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    return sagemaker.client.create_model_package(
        ModelPackageGroupName="flights", InferenceSpecification=contents, **more
    )["ModelPackageArn"]


def test_registry_finds_the_latest_approved_version(sagemaker):
    client = sagemaker.client
    client.create_model_package_group(ModelPackageGroupName="flights")
    arns = [package(sagemaker) for _ in range(3)]
    for arn, status in zip(arns, ("Approved", "Approved", "Rejected"), strict=True):
        client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)
    latest = client.list_model_packages(
        ModelPackageGroupName="flights", ModelApprovalStatus="Approved", SortBy="CreationTime",
        SortOrder="Descending", MaxResults=1,
    )["ModelPackageSummaryList"]  # fmt: skip
    assert [each["ModelPackageVersion"] for each in latest] == [2]
    client.delete_model_package(ModelPackageName=arns[2])
    assert package(sagemaker).endswith("/4"), "a version number is not used again"


def test_only_an_approved_package_becomes_a_model(sagemaker):
    client = sagemaker.client
    client.create_model_package_group(ModelPackageGroupName="flights")
    arn = package(sagemaker)
    model = {"ExecutionRoleArn": sagemaker.role, "PrimaryContainer": {"ModelPackageName": arn}}
    with pytest.raises(ClientError, match=r"approval status is PendingManualApproval\. Approve it first"):
        client.create_model(ModelName="m", **model)
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    client.create_model(ModelName="m", **model)
    assert client.describe_model(ModelName="m")["PrimaryContainer"]["ModelPackageName"] == arn


def test_group_with_packages_cannot_be_deleted(sagemaker):
    sagemaker.client.create_model_package_group(ModelPackageGroupName="flights")
    package(sagemaker)
    with pytest.raises(ClientError, match="still contains Model Packages"):
        sagemaker.client.delete_model_package_group(ModelPackageGroupName="flights")


def test_regions_and_tenants_do_not_see_each_other(cloud, sagemaker):
    sagemaker.model("mine", None)
    other = cloud.tenant(f"other-{time.time_ns()}")
    assert cloud.client("sagemaker", other).list_models()["Models"] == []
    assert sagemaker.aws("sagemaker", region="eu-west-1").list_models()["Models"] == []
    cloud.control("DELETE", f"/_lab/tenants/{other.account}")
