# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["exclusive"]
# # Warm a cold start: how cold is it, and what warms it?
#
# A function costs nothing while nobody calls it, and the first caller after a pause waits until it has started. You put
# the flight model into a function, measure that wait, try six remedies against a target that you state first, and put
# a door with keys in front of the one you choose.

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will read what a cold call is billed, export a model that needs no imports, compare remedies against a p95 target, decide who may pass an API's door, and compute what a held environment costs per million calls |
# | **Prerequisites** | the lecture [Serverless machine learning](../../book/week1_aws/serverless_ml.md); percentiles as in [03 Change a model](03_sagemaker_endpoint.ipynb) |
# | **Time** | 40 minutes to read and think; the machine works about one of them |
# | **Cost** | local USD 0; on a real account about USD 0.02, most of it for environments held ready |
# | **Kind** | core |
# | **Versions of a real run** | runtime of your own Python's version on Linux x86-64, with the packages of this kit: scikit-learn 1.9, pandas 3.1, numpy 2.4; boto3 1.43 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up

# %% tags=["parameters"]
target = "local"
target_ms = 300
repetitions = 20
requests_a_day = 900
cold_share = 0.1

# %%
import io
import json
import math
from statistics import median

import httpx
import joblib
import labs
import numpy as np
from labs import flights, serverless
from labs.cost import estimate
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

# %%
lab = labs.connect(target, lab="lambda-api")

# %% [markdown]
# ## How cold?
#
# First a model: late or not, as in the labs before. It is written down twice. Once as everybody does it, pickled: whoever
# reads that needs scikit-learn, in the same version. And once as plain numbers, which anything can read that reads JSON.

# %%
learn, judge = flights.split(flights.features())
columns = list(flights.COLUMNS)
vocabulary = {name: {value: i for i, value in enumerate(sorted(learn[name].unique()))} for name in flights.CATEGORIES}


def matrix(frame):
    coded = {name: frame[name].map(codes) for name, codes in vocabulary.items()}
    return frame[columns].assign(**coded).astype(float).to_numpy()


classifier = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0)
with threadpool_limits(1):
    classifier.fit(matrix(learn), learn["late"])
    print(f"AUC {roc_auc_score(judge['late'], classifier.predict_proba(matrix(judge))[:, 1]):.3f}")
known = {"columns": columns, "vocabulary": vocabulary}
joblib.dump({**known, "classifier": classifier}, pickled := io.BytesIO())
plain = {**known, **flights.plain_trees(classifier)}
pickle_code, plain_code = {"model_joblib": pickled.getvalue()}, {"model_json": json.dumps(plain)}

# %% [markdown]
# Lambda's Python brings boto3 and nothing for data. Packages travel in your zip or in a *layer* beside it, 250 MB
# unpacked at most for all together. Look at how close two ordinary imports come to that.
#
# The functions are files in `labs/flights/functions/`; open `notebook.py`. A function of 1,024 MB has, on AWS, 58% of a
# processor: the share grows with the memory, and 1,769 MB buy a whole one. **Not here:** the local cloud enforces the
# memory, but gives every function a whole core, and fetches no package over a network (`lab coverage lambda` lists what
# else differs).

# %%
science, numbers = serverless.pack_layer("pandas", "scikit-learn"), serverless.pack_layer("numpy")
for layer in (science, numbers):
    share = layer.unpacked_bytes / serverless.MOST_UNPACKED_BYTES
    print(f"{len(layer.packages):2} packages: a zip of {layer.zipped_bytes / 1e6:.0f} MB, {share:.0%} of the limit")
science = serverless.publish_layer(lab, lab.name("science"), science)
numbers = serverless.publish_layer(lab, lab.name("numbers"), numbers)


def deploy(file, model, layers=(), memory_mb=1024):
    name = lab.name(file)
    code = serverless.pack_code(app_py=flights.FUNCTIONS / f"{file}.py", **model)
    options = {"Handler": "app.handler", "MemorySize": memory_mb, "Layers": list(layers)}
    serverless.create_function(lab, name, Code={"ZipFile": code}, **options)
    return name


functions = {"notebook": deploy("notebook", pickle_code, [science])}

# %%
flight = flights.sample(1)[0]
event = {"body": json.dumps(flight)}
first = serverless.call(lab, functions["notebook"], event)
warm = [serverless.call(lab, functions["notebook"], event) for _ in range(20)]
print(first.payload["body"], "\n\n", first.report.line, "\n", sep="")
rest = first.client_ms - first.report.init_ms - first.report.duration_ms
print(f"first call {first.client_ms:.0f} ms, {rest:.0f} of them neither Init nor Duration")
print(f"the next {len(warm)}: {median(one.client_ms for one in warm):.1f} ms in the median")

# %% [markdown]
# The `REPORT` line is the instrument. *Init Duration* is the time from the start of the process to the end of your
# imports, *Duration* that of the handler; the caller waits for both. Nearly all of it is imports: the model is small.
# The rest is the cloud's work, and not billed: here the layer was unpacked for the first time; on AWS a host is found
# and the package fetched.
#
# **Your turn.** How many GB-seconds are billed for this first call?

# %%
seen = {
    "init_ms": first.report.init_ms, "duration_ms": first.report.duration_ms, "memory_mb": first.report.memory_mb,
}  # fmt: skip
print(seen)
# BEGIN SOLUTION: a number of GB-seconds
gb_seconds = math.ceil(seen["init_ms"] + seen["duration_ms"]) / 1000 * seen["memory_mb"] / 1024
# END SOLUTION
labs.check("week1_lambda.04.billed", gb_seconds, **seen)
labs.hint("week1_lambda.04.billed")

# %% [markdown]
# ## Predict what warms it
#
# The strongest medicine is to need nothing. A gradient boosting model is a list of trees, and a tree is a few lists. In
# `plain["trees"]` each tree has, for each node, the `feature` it asks for (-1: it is a leaf), the `threshold`, the nodes
# to the `left` and to the `right`, whether a missing number (`None`) goes left, and the `value` of a leaf.
#
# **Your turn.** Walk one tree for one row of numbers: at most the threshold goes left.


# %%
# BEGIN SOLUTION: a function of a tree and a row
def leaf(tree, row):
    """The value of the leaf that a row ends in."""
    node = 0
    while tree["feature"][node] >= 0:
        value = row[tree["feature"][node]]
        goes_left = tree["missing_left"][node] if value is None else value <= tree["threshold"][node]
        node = tree["left"][node] if goes_left else tree["right"][node]
    return tree["value"][node]


# END SOLUTION


labs.check("week1_lambda.04.leaf", leaf)
labs.hint("week1_lambda.04.leaf")

# %% [markdown]
# The target, stated before measuring: **95 of 100 first callers get their answer within 300 ms.** The candidates:
#
# | name | what it is |
# | --- | --- |
# | `notebook` | as it was: pandas, scikit-learn, a pickle |
# | `lazy` | the same, but all of it is imported by the first call instead of before it |
# | `arrays` | the trees as numpy arrays; no pandas, no scikit-learn |
# | `arrays, 1,769 MB` | the same with more memory, a whole processor on AWS |
# | `plain` | the trees as lists; imports nothing but the standard library |
# | `plain, all aboard` | the same, with the big layer attached and never imported |
# | `provisioned` | `notebook` again, with environments started beforehand and held ready |
#
# A function is made cold by changing its configuration: environments of the old one serve no further call. The
# candidates take turns, so that whatever else your computer does hits all of them alike.
#
# **Predict first.** Which one has the lowest p95? And does `lazy` help the caller?

# %%
# BEGIN SOLUTION: one of the names
guess = "provisioned"
# END SOLUTION
functions |= {
    "lazy": deploy("lazy", pickle_code, [science]),
    "arrays": deploy("arrays", plain_code, [numbers]),
    "arrays, 1,769 MB": deploy("arrays", plain_code, [numbers], 1769),
    "plain": deploy("plain", plain_code),
    "plain, all aboard": deploy("plain", plain_code, [science]),
}
times = dict.fromkeys(functions, repetitions) | {"notebook": repetitions // 2, "lazy": repetitions // 4}
calls = serverless.first_calls(lab, functions, event, times)
versions = serverless.publish_versions(lab, functions["notebook"], repetitions // 5)
serverless.provision(lab, functions["notebook"], versions)
calls["provisioned"] = [serverless.call(lab, functions["notebook"], event, qualifier=each) for each in versions]
serverless.release(lab, functions["notebook"], versions)


# %% mystnb={"image": {"alt": "Box plots of the wait of the first caller, one row per candidate, on a logarithmic axis with a line at the target of 300 ms. notebook and lazy lie together far to the right of the line, at a second or more; both rows of arrays lie close to each other and several times further left, both rows of plain left of these, and provisioned furthest left."}}
def p95(values):
    return np.percentile(values, 95, method="inverted_cdf")


waits = {name: [one.client_ms for one in each] for name, each in calls.items()}
answers = {one.payload["body"] for each in calls.values() for one in each}
print("all of them answered", *answers)
for name, each in calls.items():
    init, ran = median(one.report.init_ms or 0 for one in each), median(one.report.duration_ms for one in each)
    wait = f"wait p50 {median(waits[name]):5.0f}  p95 {p95(waits[name]):5.0f}"
    print(f"{name:18} n={len(each):2}  {wait}  Init {init:5.0f}  Duration {ran:5.0f} ms")
labs.plots.boxes(
    waits, target=target_ms, title="How long the first caller waits", x_label="milliseconds",
    alt="Box plots of the first caller's wait by candidate, with the target as a line",
)  # fmt: skip

# %% [markdown]
# **Your turn.** Which of them meet the target, `target_ms`? Make the list of their names from `waits`.

# %%
# BEGIN SOLUTION: a list of names
meeting = [name for name, values in waits.items() if p95(values) < target_ms]
# END SOLUTION
labs.check("week1_lambda.04.meets", meeting, first=waits, target=target_ms)
labs.hint("week1_lambda.04.meets")


# %%
def change(before, after):
    return f"{(after - before) / before:+.0%}"


def typical(name, field):
    return median(getattr(one.report, field) for one in calls[name])


print(f"lowest p95: {min(waits, key=lambda name: p95(waits[name]))}. Your guess: {guess}")
free = [name for name, values in waits.items() if p95(values) < target_ms and name != "provisioned"]
print(f"meeting the target with nothing held: {', '.join(free) or 'none'}")
print(f"plain starts {median(waits['notebook']) / median(waits['plain']):.0f} times as fast as notebook")
print("notebook to lazy: Init", change(typical("notebook", "init_ms"), typical("lazy", "init_ms")), end=", ")
print("the caller's wait", change(median(waits["notebook"]), median(waits["lazy"])), end=", ")
print("billed", change(typical("notebook", "billed_ms"), typical("lazy", "billed_ms")))
print("plain to plain, all aboard: the wait", change(median(waits["plain"]), median(waits["plain, all aboard"])))
print("arrays to more memory:      the wait", change(median(waits["arrays"]), median(waits["arrays, 1,769 MB"])))

# %% [markdown]
# - `lazy` is the trap: a dashboard of Init Duration celebrates, the caller waits as before, and the bill is the same. It
#   helps only where some calls never need the import.
# - What you do not import costs no start-up time. Packages that lie unused in a layer cost nothing *here*; on AWS they
#   have to be fetched when the environment is placed.
# - Memory did nothing *here*, because every function gets a whole core. On AWS this is the first thing to try: importing
#   is work for a processor, and 1,024 MB have 58% of one. Measure it on a real account before you believe either.
# - Provisioned environments have done their imports before anybody calls. That is bought with money: how much?
#
# ## What warmth costs
#
# A portal asks about 900 times a day. Assume that one call in ten is a cold one (`cold_share` above; count yours in the
# logs). `notebook, held` keeps one environment all month.


# %%
def a_month(name, requests, held=0):
    usual = median(serverless.call(lab, functions[name], event).report.duration_ms for _ in range(10))
    seconds, init = usual / 1000, typical(name, "init_ms") / 1000
    return estimate.function(
        requests, seconds=seconds, memory_mb=1024, cold_share=cold_share, init_seconds=init, provisioned=held
    )


def per_million(month, requests):
    return month.total_usd / (requests * labs.cost.DAYS_A_MONTH / 1e6)


print("USD per million calls, at so many a day:", f"{requests_a_day:>24,}{1_000_000:>12,}")
for name, held in (("notebook", 0), ("plain", 0), ("notebook", 1)):
    row = [per_million(a_month(name, requests, held), requests) for requests in (requests_a_day, 1_000_000)]
    print(f"{name + (', held' if held else ''):40} {row[0]:>24,.2f}{row[1]:>12,.2f}")
for kind in ("REST", "HTTP"):
    print(f"and for the door, {kind + ' API':22} {per_million(estimate.api_gateway(900, kind=kind), 900):>24.2f}")

# %% [markdown]
# Two things to see. Holding one environment decides the bill as long as traffic is low, and hardly counts when it is
# high. And the door costs more than what is behind it.
#
# **Your turn.** The function `plain` with one environment of 1,024 MB held: what do a million calls cost?

# %%
usd_calls = per_million(a_month("plain", requests_a_day), requests_a_day)
month = estimate.function(0, seconds=0, memory_mb=1024, provisioned=1)
usd_held = month.total_usd
print(f"calls: {usd_calls:.3f} USD per million. Held: {usd_held:.2f} USD a month. {requests_a_day} requests a day.")
# BEGIN SOLUTION: US dollars per million calls
usd_with_held = usd_calls + usd_held / (requests_a_day * 30.4 / 1e6)
# END SOLUTION
given = {"usd_calls": usd_calls, "usd_held": usd_held, "requests_a_day": requests_a_day}
labs.check("week1_lambda.04.held", usd_with_held, **given)
labs.hint("week1_lambda.04.held")

# %% [markdown]
# ## The front door
#
# A REST API of API Gateway gives the function an address, asks for a *key* (which customer, how fast, how often: a usage
# plan), and lets an *authorizer*, a second function, decide about each token. Its answer could be kept for minutes;
# here it is not, so that you see every decision.

# %%
tokens = {"ALLOWED_TOKEN": "let-me-in", "REVOKED_TOKEN": "was-let-in"}
code = serverless.pack_code(app_py=flights.FUNCTIONS / "authorizer.py")
guard, gateway, stage = lab.name("authorizer"), lab.client("apigateway"), "v1"
guard_arn = serverless.create_function(
    lab, guard, Handler="app.handler", Code={"ZipFile": code}, Environment={"Variables": tokens}
)
api = gateway.create_rest_api(name=lab.name("late"))["id"]
lab.track("apigateway", "rest-api", api)
root = gateway.get_resources(restApiId=api)["items"][0]["id"]
path = gateway.create_resource(restApiId=api, parentId=root, pathPart="late")["id"]
authorizer = gateway.create_authorizer(
    restApiId=api, name="tokens", type="TOKEN", identitySource="method.request.header.Authorization",
    authorizerUri=serverless.integration_uri(lab, guard_arn), authorizerResultTtlInSeconds=0,
)["id"]  # fmt: skip
post = {"restApiId": api, "resourceId": path, "httpMethod": "POST"}
gateway.put_method(**post, authorizationType="CUSTOM", authorizerId=authorizer, apiKeyRequired=True)
plain_arn = serverless.arn(lab, functions["plain"])
uri = serverless.integration_uri(lab, plain_arn)
made = gateway.put_integration(**post, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)


# %%
def key_for(name, rate, burst):
    limits = {"rateLimit": rate, "burstLimit": burst}
    made = gateway.create_usage_plan(name=name, throttle=limits, apiStages=[{"apiId": api, "stage": stage}])["id"]
    key = gateway.create_api_key(name=name, enabled=True)
    lab.track("apigateway", "usage-plan", made)
    lab.track("apigateway", "api-key", key["id"])
    gateway.create_usage_plan_key(usagePlanId=made, keyId=key["id"], keyType="API_KEY")
    return key["value"]


gateway.create_deployment(restApiId=api, stageName=stage)
for called in (guard_arn, plain_arn):
    serverless.allow_gateway(lab, called, api)
keys = {"airline": key_for("airline", 100, 100), "trial": key_for("trial", 0.1, 2)}
door = httpx.Client(timeout=30)


def knock(key=keys["airline"], token=tokens["ALLOWED_TOKEN"]):
    headers = {"x-api-key": key, "Authorization": token} if key else {"Authorization": token}
    return door.post(serverless.url(lab, api, stage, "/late"), headers=headers, content=json.dumps(flight))


# %% [markdown]
# **Predict first**, then look: which status does the door answer with? `trial` may ask twice at once and then once in ten
# seconds; in `labs/flights/functions/authorizer.py` you find what happens to a token that is unknown or revoked.

# %%
# BEGIN SOLUTION: a dict with a status for each of the five
statuses = {"no key": 403, "wrong key": 403, "too fast": 429, "unknown token": 401, "revoked token": 403}
# END SOLUTION
labs.wait_until(lambda: knock().status_code == 200, 120, "Until keys and permissions are known everywhere")
seen = {"no key": knock(key=None), "wrong key": knock(key="a" * 40)}
seen["too fast"] = [knock(key=keys["trial"]) for _ in range(5)][-1]
seen |= {"unknown token": knock(token="whoever"), "revoked token": knock(token=tokens["REVOKED_TOKEN"])}
for name, answer in seen.items():
    print(f"{name:14} {answer.status_code}  {answer.text}")
labs.check("week1_lambda.04.door", statuses)
labs.hint("week1_lambda.04.door")
for name in (guard, functions["plain"]):
    serverless.make_cold(lab, name, "behind the door")
passing = [knock().elapsed.total_seconds() * 1000 for _ in range(31)]
print(f"through the door: {passing[0]:.0f} ms with two cold functions, then {median(passing[1:]):.1f} ms")

# %% [markdown]
# The door starts functions too: an authorizer has cold starts of its own, and they come first.
#
# | | AWS: API Gateway (REST) | Azure: API Management | Google: API Gateway |
# | --- | --- | --- | --- |
# | a key travels as | header `x-api-key` | header `Ocp-Apim-Subscription-Key` | query parameter or header |
# | and stands for | a usage plan | a [subscription](https://learn.microsoft.com/azure/api-management/api-management-subscriptions) to a product | a [Google Cloud project](https://cloud.google.com/api-gateway/docs/authenticate-api-keys) |
# | no key, wrong key | 403 | [401](https://learn.microsoft.com/troubleshoot/azure/api-mgmt/availability/unauthorized-errors-invoke-apis) | rejected |
# | limits | rate, burst, quota: 429 | [policies](https://learn.microsoft.com/azure/api-management/api-management-policies) `rate-limit` (429), `quota` (403) | [quotas](https://cloud.google.com/api-gateway/docs/quotas-overview) in the API's description |
# | own code decides | Lambda authorizer | policy expressions, `validate-jwt` | token checked by the gateway; own code behind it |
#
# <details><summary>The same calls in the AWS CLI</summary>
#
# `lab env` prints the variables that aim the CLI at this notebook's account.
#
# ```bash
# aws lambda invoke --function-name "$NAME" --payload file://event.json --log-type Tail out.json \
#     --cli-binary-format raw-in-base64-out --query LogResult --output text | base64 -d
# aws lambda update-function-configuration --function-name "$NAME" --environment 'Variables={COLD_START=1}'
# aws lambda put-provisioned-concurrency-config --function-name "$NAME" --qualifier 1 --provisioned-concurrent-executions 1
# aws apigateway get-usage --usage-plan-id "$PLAN" --start-date 2026-11-01 --end-date 2026-11-30
# ```
# </details>
#
# ## Spend so far
#
# Find the line of what was held: each version for seconds, billed as five minutes.

# %%
lab.spend()

# %% [markdown]
# ## Clean up

# %%
door.close()
lab.cleanup()
assert not lab.leftovers()

# %% [markdown]
# ## What you learned
#
# - A cold start is the sum of starting, your imports and your model; since August 2025 all of it that runs is billed.
# - Measure what the caller waits for. Init Duration alone can be made small without helping anybody.
# - Needing nothing is faster than hurrying: trees as lists answer like scikit-learn and start in no time.
# - Holding environments is the only remedy that is paid by the hour. It pays with traffic, or with a promise.
# - A key is not an identity: 403 for keys, 401 and 403 for tokens, 429 for haste.
#
# **Quiz**: [ten questions on functions and their door](../../book/quizzes/week1_aws.md). **Next**:
# [05 endpoint, serverless or Lambda?](05_aws_cost.ipynb)
#
# **Further reading**:
# [the life of an execution environment](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html) ·
# [billing of the init phase](https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/) ·
# [provisioned concurrency](https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html) ·
# [usage plans and keys](https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html) ·
# [Lambda authorizers](https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html)
