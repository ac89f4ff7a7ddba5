"""REST and HTTP APIs in front of functions, through the gateway, as callers without AWS credentials."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

REPLY = """
import json
def handler(event, context):
    if event.get('path', '').endswith('fail'):
        raise ValueError('no')
    if event.get('path', '').endswith('odd'):
        return {'no': 'status'}
    return {'statusCode': 201, 'headers': {'x-made-by': 'function'}, 'body': json.dumps({
        'method': event.get('httpMethod'), 'body': event.get('body'), 'query': event.get('queryStringParameters'),
        'caller': (event.get('requestContext') or {}).get('authorizer')})}
"""
AUTHORIZER = """
def handler(event, context):
    token = event['authorizationToken']
    if token == 'broken':
        raise ValueError('the authorizer fails')
    if token == 'unknown':
        raise Exception('Unauthorized')
    effect = 'Allow' if token == 'good' else 'Deny'
    return {'principalId': 'somebody', 'context': {'team': 'blue'}, 'policyDocument': {'Version': '2012-10-17',
        'Statement': [{'Action': 'execute-api:Invoke', 'Effect': effect, 'Resource': event['methodArn']}]}}
"""


@dataclass
class Api:
    """A deployed REST API with one resource `{proxy+}`."""

    id: str
    url: str

    def call(self, path: str = "/hello", method: str = "GET", **options: Any) -> httpx.Response:
        with httpx.Client(trust_env=False) as client:
            return client.request(method, self.url + path, timeout=30, **options)


@pytest.fixture
def rest_api(cloud: Any, aws: Callable[..., Any], tenant_functions: Any) -> Callable[..., Api]:
    """`rest_api(**method options)` makes and deploys one; stage `prod`."""
    gateway = aws("apigateway")

    def make(function: str, **method: Any) -> Api:
        api = gateway.create_rest_api(name="api")["id"]
        root = gateway.get_resources(restApiId=api)["items"][0]["id"]
        resource = gateway.create_resource(restApiId=api, parentId=root, pathPart="{proxy+}")["id"]
        where = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
        gateway.put_method(**where, **{"authorizationType": "NONE", **method})
        gateway.put_integration(
            **where, type="AWS_PROXY", integrationHttpMethod="POST", uri=_uri(tenant_functions, function)
        )
        gateway.create_deployment(restApiId=api, stageName="prod")
        return Api(api, f"{cloud.url}/restapis/{api}/prod/_user_request_")

    return make


def _uri(functions: Any, name: str) -> str:
    arn = f"arn:aws:lambda:us-east-1:{functions.account}:function:{name}"
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"


@pytest.mark.contract
def test_a_proxy_integration(rest_api: Any, tenant_functions: Any) -> None:
    api = rest_api(tenant_functions.create(REPLY))
    answer = api.call("/hello?a=1", "POST", content=b"text")
    assert (answer.status_code, answer.headers["x-made-by"]) == (201, "function")
    assert answer.json() == {"method": "POST", "body": "text", "query": {"a": "1"}, "caller": None}


@pytest.mark.parametrize("path", ["/fail", "/odd"])
def test_a_function_that_fails_or_answers_in_another_form(rest_api: Any, tenant_functions: Any, path: str) -> None:
    answer = rest_api(tenant_functions.create(REPLY)).call(path)
    assert (answer.status_code, answer.json()) == (502, {"message": "Internal server error"})


def test_a_function_without_concurrency_left(rest_api: Any, tenant_functions: Any) -> None:
    name = tenant_functions.create(REPLY)
    tenant_functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = rest_api(name).call()
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal server error"})


@pytest.fixture
def keyed_api(aws: Callable[..., Any], rest_api: Any, tenant_functions: Any) -> Callable[..., tuple[Api, str]]:
    """`keyed_api(**plan)`: an API that needs a key, and a key with that usage plan."""
    gateway = aws("apigateway")

    def make(**plan: Any) -> tuple[Api, str]:
        api = rest_api(tenant_functions.create(REPLY), apiKeyRequired=True)
        made = gateway.create_usage_plan(name="plan", apiStages=[{"apiId": api.id, "stage": "prod"}], **plan)
        key = gateway.create_api_key(name="key", enabled=True)
        gateway.create_usage_plan_key(usagePlanId=made["id"], keyId=key["id"], keyType="API_KEY")
        return api, key["value"]

    return make


def test_an_api_key(keyed_api: Any) -> None:
    api, key = keyed_api()
    assert api.call(headers={"x-api-key": key}).status_code == 201
    for headers in ({}, {"x-api-key": "wrong"}):
        answer = api.call(headers=headers)
        assert (answer.status_code, answer.json()) == (403, {"message": "Forbidden"})
        assert answer.headers["x-amzn-errortype"] == "ForbiddenException"


def test_a_throttled_key(keyed_api: Any) -> None:
    api, key = keyed_api(throttle={"rateLimit": 0.001, "burstLimit": 3})
    answers = [api.call(headers={"x-api-key": key}) for _ in range(5)]
    assert [each.status_code for each in answers] == [201, 201, 201, 429, 429]
    assert answers[-1].json() == {"message": "Too Many Requests"}


def test_a_key_whose_quota_is_used_up(keyed_api: Any) -> None:
    api, key = keyed_api(quota={"limit": 2, "period": "DAY"})
    answers = [api.call(headers={"x-api-key": key}) for _ in range(3)]
    assert [each.status_code for each in answers] == [201, 201, 429]
    assert answers[-1].json() == {"message": "Limit Exceeded"}


def test_a_lambda_authorizer(aws: Callable[..., Any], rest_api: Any, tenant_functions: Any) -> None:
    gateway = aws("apigateway")
    api = rest_api(tenant_functions.create(REPLY))
    authorizer = gateway.create_authorizer(
        restApiId=api.id, name="tokens", type="TOKEN", identitySource="method.request.header.Authorization",
        authorizerUri=_uri(tenant_functions, tenant_functions.create(AUTHORIZER)), authorizerResultTtlInSeconds=0,
    )["id"]  # fmt: skip
    resource = next(each for each in gateway.get_resources(restApiId=api.id)["items"] if each["path"] != "/")
    gateway.update_method(
        restApiId=api.id, resourceId=resource["id"], httpMethod="ANY",
        patchOperations=[
            {"op": "replace", "path": "/authorizationType", "value": "CUSTOM"},
            {"op": "replace", "path": "/authorizerId", "value": authorizer},
        ],
    )  # fmt: skip
    answers = {
        token: api.call(headers={"Authorization": token} if token else {})
        for token in ("good", "bad", "unknown", "broken", "")
    }
    assert {token: each.status_code for token, each in answers.items()} == {
        "good": 201, "bad": 403, "unknown": 401, "broken": 500, "": 401,
    }  # fmt: skip
    assert answers["good"].json()["caller"]["principalId"] == "somebody"
    assert answers["bad"].json()["Message"].startswith("User is not authorized to access this resource")


def test_an_unknown_api_and_an_unknown_path(cloud: Any, rest_api: Any, tenant_functions: Any) -> None:
    api = rest_api(tenant_functions.create(REPLY))
    assert httpx.get(f"{cloud.url}/restapis/nobody1234/prod/_user_request_/x").status_code in (403, 404)
    assert Api(api.id, api.url.replace("/prod/", "/other/")).call().json() == {"message": "Forbidden"}


def test_an_http_api(cloud: Any, aws: Callable[..., Any], tenant_functions: Any) -> None:
    gateway = aws("apigatewayv2")
    source = (
        "def handler(event, context):\n    if 'fail' in event['rawPath']:\n        raise ValueError('x')\n"
        "    return {'version': event['version'], 'path': event['rawPath'], 'route': event['routeKey']}\n"
    )
    name = tenant_functions.create(source)
    api = gateway.create_api(Name="http", ProtocolType="HTTP")["ApiId"]
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", PayloadFormatVersion="2.0",
        IntegrationUri=f"arn:aws:lambda:us-east-1:{tenant_functions.account}:function:{name}",
    )["IntegrationId"]  # fmt: skip
    gateway.create_route(ApiId=api, RouteKey="GET /items/{id}", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    http = Api(api, f"{cloud.url}/_aws/execute-api/{api}")
    answer = http.call("/items/5")
    assert answer.status_code == 200
    assert answer.json() == {"version": "2.0", "path": "/items/5", "route": "GET /items/{id}"}
    assert http.call("/items/fail").status_code == 500
    assert http.call("/items/fail").json() == {"message": "Internal Server Error"}
    assert (http.call("/none").status_code, http.call("/none").json()) == (404, {"message": "Not Found"})


def test_what_an_http_api_cannot_do_here_is_refused(aws: Callable[..., Any]) -> None:
    gateway = aws("apigatewayv2")
    api = gateway.create_api(Name="http", ProtocolType="HTTP")["ApiId"]
    with pytest.raises(gateway.exceptions.BadRequestException, match="throttling"):
        gateway.create_stage(
            ApiId=api, StageName="s", DefaultRouteSettings={"ThrottlingRateLimit": 1.0, "ThrottlingBurstLimit": 1}
        )
    with pytest.raises(gateway.exceptions.BadRequestException, match="WebSocket"):
        gateway.create_api(Name="socket", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")


def test_requests_are_metered_once_and_refusals_are_free(cloud: Any, tenant: Any, keyed_api: Any) -> None:
    api, key = keyed_api()
    for _ in range(3):
        api.call(headers={"x-api-key": key})
    api.call(headers={"x-api-key": "wrong"})
    rows = cloud.control("GET", f"/_lab/tenants/{tenant.account}/usage")
    found = {row["sku"]: row["quantity"] for row in rows if row["service"] == "API Gateway" and "REST" in row["sku"]}
    assert found == {"REST requests first 333M": 3}
    assert sum(row["quantity"] for row in rows if row["service"] == "Lambda" and row["sku"] == "Requests") == 3
    assert json.dumps(rows)
