"""Who may ask: a token that is known and not revoked.

API Gateway hands over the header and expects a policy; an exception that says exactly `Unauthorized` becomes a 401:
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
"""

import os

ALLOWED, REVOKED = os.environ["ALLOWED_TOKEN"], os.environ["REVOKED_TOKEN"]


def handler(event, context):
    """A policy for one token."""
    token = event["authorizationToken"]
    if token not in (ALLOWED, REVOKED):
        raise Exception("Unauthorized")
    effect = "Allow" if token == ALLOWED else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
    return {"principalId": "airline", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
