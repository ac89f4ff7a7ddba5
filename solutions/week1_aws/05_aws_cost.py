# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Choose where to serve: endpoint, serverless or Lambda?
#
# The model works, and somebody asks what it will cost. Three answers are on the table: an endpoint that is always on,
# SageMaker's serverless inference, and a Lambda function behind an HTTP API. New York has 923 departures a day; next
# year it may be the whole country, and then the whole world. You measure what one prediction takes, price it from a
# list with sources, find where the answers change places, and write down a decision that says when it will be wrong.

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will measure what one request takes, compute what Lambda bills for it, compare three ways of serving by list price, find the break-even, explain what moves it, and write a decision record |
# | **Prerequisites** | [lab 03](03_sagemaker_endpoint.ipynb); the lecture [Cost on AWS](../../book/week1_aws/cost_on_aws.md) |
# | **Time** | 35 minutes to read and think; the machine works half a minute of them |
# | **Cost** | local USD 0; on a real account about USD 0.05 (two instances ml.m5.large, some ten minutes each) |
# | **Kind** | core |
# | **Versions of a real run** | container `sagemaker-scikit-learn:1.4-2` (Python 3.10, scikit-learn 1.4.2); sagemaker 3.27, boto3 1.43 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up
#
# `memory_mb` is what the function asks for: at 1,769 MB Lambda gives it one whole processor, so that a time measured on
# one processor may be used as it is. Serverless inference takes whole gigabytes.

# %% tags=["parameters"]
target = "local"
requests_a_day = 923
budget_usd = 20
memory_mb = 1769
memory_gb = 2

# %%
import datetime
import math
import subprocess
import sys

import labs
import numpy as np
from labs import flights
from labs.cost import estimate
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

# %%
lab = labs.connect(target, lab="aws-cost")
sagemaker = lab.client("sagemaker")

# %% [markdown]
# ## What one request takes
#
# A price without a measured quantity is a wish. The flights model is trained and put behind an endpoint, as in the labs
# before. **Predict first:** how many milliseconds does the model compute for one flight?

# %%
# BEGIN SOLUTION: your guess, in milliseconds
guess_ms = 50
# END SOLUTION

# %%
channels = flights.write_training_channel()
data = [InputData(channel_name=path.name, data_source=str(path)) for path in (channels.train, channels.validation)]
trainer = ModelTrainer(
    sagemaker_session=lab.sagemaker_session(),
    training_image=lab.image("sklearn"),
    role=lab.role,
    base_job_name=lab.name("late"),
    source_code=SourceCode(source_dir=str(flights.SCRIPTS), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"max_iter": 50},
)
trainer.train(input_data_config=data, wait=False, logs=False)
job = trainer._latest_training_job.training_job_name


def described():
    return sagemaker.describe_training_job(TrainingJobName=job)


labs.wait_for_status(lambda: described()["TrainingJobStatus"], "Completed", 1800, job, every=1)

# %%
name = lab.name("late")
serving = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
artifact = described()["ModelArtifacts"]["S3ModelArtifacts"]
container = {"Image": lab.image("sklearn"), "ModelDataUrl": artifact, "Environment": serving}
machines = {"VariantName": "only", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
sagemaker.create_model(ModelName=name, ExecutionRoleArn=lab.role, PrimaryContainer=container)
sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[machines])
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def status():
    return sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]


labs.wait_for_status(status, "InService", 1800, name, every=1)
payloads = [flights.csv_row(flight) for flight in flights.sample(100)]
load = labs.load.run(lab, name, payloads, users=1, seconds=4)
load

# %% [markdown]
# The client's latency has the network and the gateway in it, and Lambda bills neither. The endpoint's own metric
# `ModelLatency` is the model alone, in microseconds.
#
# A function has a second cost: its first call starts a process that has to load its libraries. That is billed too, since
# August 2025. Here a fresh Python process does nothing but these imports.


# %%
def model_latency():
    now = datetime.datetime.now(datetime.UTC)
    dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "only"}]
    return lab.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="ModelLatency", Dimensions=dimensions, Period=60,
        StartTime=now - datetime.timedelta(minutes=15), EndTime=now + datetime.timedelta(minutes=1),
        Statistics=["Average", "SampleCount"],
    )["Datapoints"]  # fmt: skip


points = labs.wait_until(model_latency, 300, "Waiting for the metric", every=1)
calls = sum(point["SampleCount"] for point in points)
milliseconds = sum(point["Average"] * point["SampleCount"] for point in points) / calls / 1000
imports = "import time; t = time.perf_counter(); import joblib, sklearn.ensemble; print(time.perf_counter() - t)"
done = subprocess.run([sys.executable, "-c", imports], capture_output=True, text=True, check=True)
init_seconds = float(done.stdout)
print(f"{milliseconds:.2f} ms a call, over {calls:.0f} calls. Your guess: {guess_ms} ms. Imports: {init_seconds:.2f} s")

# %% [markdown]
# ## What one request costs
#
# Lambda bills *GB-seconds*: the memory you asked for, times the time, rounded up to a whole millisecond for each call.
#
# **Your turn.** How many GB-seconds is one warm call, at `memory_mb`?

# %%
# BEGIN SOLUTION: a number
gb_seconds = math.ceil(milliseconds) / 1000 * memory_mb / 1024
# END SOLUTION
labs.check("week1_cost.05.gb_seconds", gb_seconds, milliseconds=milliseconds, memory_mb=memory_mb)

# %% [markdown]
# Prices come from the kit's price book. Every row has a source and a date, and a price that is not in it is an error,
# never a zero. The next cell sets `each_gb_seconds` whatever you answered.
#
# **Your turn.** What does a month (730 hours) of `requests_a_day` cost as Lambda behind an HTTP API?

# %%
each_gb_seconds = estimate.billed_seconds(milliseconds / 1000) * memory_mb / 1024
skus = {
    "gb_second": ("Lambda", "Duration x86 first 6B GB-s"),
    "request": ("Lambda", "Requests"),
    "door": ("API Gateway", "HTTP API requests first 300M"),
}
rows = {part: labs.cost.default_book().price("aws", *sku, "us-east-1") for part, sku in skus.items()}
usd = {part: row.usd / (1e6 if row.unit == "1M requests" else 1) for part, row in rows.items()}
for part, row in rows.items():
    print(f"usd[{part!r}] = {usd[part]:g}   ({row.usd:g} USD per {row.unit}, {row.source_date})")
# BEGIN SOLUTION: US dollars
a_month = requests_a_day * 730 / 24 * (each_gb_seconds * usd["gb_second"] + usd["request"] + usd["door"])
# END SOLUTION
labs.check("week1_cost.05.month", a_month, requests_a_day=requests_a_day, gb_seconds=each_gb_seconds, usd=usd)

# %% [markdown]
# `labs.cost.estimate` does the same sum with every tier, for the other two answers as well. Read the lines of Lambda:
# which of the three would you work on to make it cheaper?

# %%
seconds = estimate.billed_seconds(milliseconds / 1000)


def endpoint(requests):
    return estimate.endpoint(requests, instance="ml.m5.large")


def serverless(requests):
    return estimate.serverless_inference(requests, seconds=seconds, memory_gb=memory_gb)


def function(requests, *, times=1, memory=memory_mb, cold=0.0, kind="HTTP", **options):
    compute = {"seconds": times * seconds, "memory_mb": memory, "cold_share": cold, "init_seconds": init_seconds}
    return estimate.function(requests, **compute, **options) + estimate.api_gateway(requests, kind=kind)


ways = {"endpoint": endpoint, "serverless": serverless, "lambda": function}
today = {way: cost(requests_a_day).total_usd for way, cost in ways.items()}
print(f"{requests_a_day:,} requests a day, USD a month: " + ", ".join(f"{way} {usd:.4f}" for way, usd in today.items()))
function(requests_a_day)

# %% [markdown]
# Here is the surprise of this lab. The model is so quick that computing is the smallest line: most of the bill is paid
# for being called at all. Making the model faster would save next to nothing.
#
# ## Where the lines cross
#
# The endpoint costs the same whether anybody asks or not, the others nothing when nobody does. Somewhere they meet.
# **Predict first**, then compute: at how many requests a day do the endpoint and Lambda cost the same?
#
# **Your turn.** `fixed` is a month of the endpoint, `each` one call of the function and its door.

# %%
fixed = endpoint(0).total_usd
each = each_gb_seconds * usd["gb_second"] + usd["request"] + usd["door"]
print(f"fixed = {fixed:.2f} USD a month, each = {each:.9f} USD")
# BEGIN SOLUTION: requests a day
crossing = fixed / each / (730 / 24)
# END SOLUTION
labs.check("week1_cost.05.break_even", crossing, fixed=fixed, each=each)

# %% mystnb={"image": {"alt": "Cost a month against requests a day on logarithmic axes. The endpoint is a level line at about 84 US dollars. Lambda with its HTTP API and serverless inference rise in proportion to requests; Lambda meets the endpoint's line at some two million requests a day, serverless inference far to the right of that. Today's 923 requests a day are at the far left, where the endpoint is a thousand times dearer."}}
crossings = {way: estimate.break_even(endpoint, ways[way]) for way in ("serverless", "lambda")}
traffic = np.geomspace(100, 1e8, 200)
labs.plots.cost_curves(
    traffic,
    {way: np.broadcast_to(cost(traffic).usd, traffic.shape) for way, cost in ways.items()},
    marks={"today": requests_a_day, "Lambda": crossings["lambda"], "serverless": crossings["serverless"]},
    alt="The endpoint's level line is met by Lambda at some two million requests a day and by serverless later",
)

# %% [markdown]
# Two million requests a day are 24 a second without a pause, and one instance has to take their peak. When it cannot,
# the level line becomes a stair. At today's traffic the endpoint costs more than a thousand times what Lambda does.
#
# Serverless inference has no price per request, so it is cheapest almost everywhere. But it answers only callers that
# can sign for AWS: give it a public address with keys, and the same door costs the same again.
#
# ## What moves it
#
# A break-even is only as good as the numbers in it. The same sum with one thing changed at a time: a call that takes
# *twice as long*; *twice the memory*; a *REST API* instead of an HTTP API (keys and usage plans want it); *one call in
# twenty cold*; *arm64* processors; and *two endpoint instances* in place of one. **Predict first:** which one moves the
# break-even most? And:
#
# **Your turn.** By which factor does the first of them, twice as long, change the break-even?

# %%
computing = each_gb_seconds * usd["gb_second"]
print(f"each = {each:.9f} USD, of which computing = {computing:.9f} USD")
# BEGIN SOLUTION: a factor
factor = each / (each + computing)
# END SOLUTION
labs.check("week1_cost.05.sensitivity", factor, each=each, computing=computing)

# %% mystnb={"image": {"alt": "Horizontal bars to both sides of 1, on a logarithmic axis: by which factor each change moves the break-even. A REST API and one cold call in twenty cut it to a fraction; twice as long or twice the memory hardly move it; arm64 raises it a little; two instances double it."}}
changes = {
    "twice as long": {"times": 2},
    "twice the memory": {"memory": 2 * memory_mb},
    "REST API": {"kind": "REST"},
    "1 in 20 cold": {"cold": 0.05},
    "arm64": {"architecture": "arm64"},
}


def moved(fixed_part=endpoint, **change):
    return estimate.break_even(fixed_part, lambda requests: function(requests, **change)) / crossings["lambda"]


factors = {what: moved(**change) for what, change in changes.items()}
factors["two instances"] = moved(lambda requests: estimate.endpoint(requests, instances=2))
labs.plots.factors(
    factors, title="What moves the break-even", x_label="times as many requests a day",
    alt="REST API and cold calls cut the break-even most; duration and memory hardly move it",
)  # fmt: skip

# %% [markdown]
# Duration and memory, which everybody argues about, hardly count here. What counts: the kind of door, whether calls
# find a warm process, and how many instances the endpoint needs. With a model that takes half a second it is the other
# way round: set `times=100` and see. Measure first, argue later.
#
# ## Decide
#
# The question to decide: 923 requests a day, at most 20 USD a month, callers inside and outside of AWS. `today` holds
# the three months, `crossings` the traffic above which the endpoint is cheaper.
#
# **Your turn.** Decide. (Two of the three can be defended.)

# %%
print({way: round(usd, 4) for way, usd in today.items()}, {way: round(at) for way, at in crossings.items()})
# BEGIN SOLUTION: a dict with choice, usd_a_month and changes_above
decision = {"choice": "lambda", "usd_a_month": today["lambda"], "changes_above": crossings["lambda"]}
# END SOLUTION
labs.check("week1_cost.05.decision", decision, usd=today, crossings=crossings, budget=budget_usd)

# %% [markdown]
# A decision that is not written down is made again every month. The cell prints the numbers for your
# [decision record](../../book/templates/adr.md): paste them into *Context* and *Options*, and write the three sentences
# that no program can write, *because*, *worse* and *what would change our mind*. Then fill in the six questions of the
# [architecture sketch](../../book/templates/architecture_sketch.md); the first two answers are printed too.

# %%
p95 = {"endpoint": f"{load.percentiles(95).iloc[0]:.0f} ms, one caller", "serverless": "not yet", "lambda": "lab 04"}
print(f"""{requests_a_day:,} predictions a day, at most {budget_usd} USD a month. One takes {milliseconds:.1f} ms of one
processor, measured on {datetime.date.today()} over {calls:.0f} calls; a cold start imports for {init_seconds:.1f} s.

| option | USD a month (newest price) | p95 measured | the endpoint is cheaper above |
| --- | --- | --- | --- |""")
for way, cost in ways.items():
    dated = max(price.source_date for price in cost(1).prices)
    above = f"{crossings[way]:,.0f} requests a day" if way in crossings else "-"
    print(f"| {way} | {today[way]:.4f} ({dated}) | {p95[way]} | {above} |")
print(f"""
Who calls, how often, how large? {requests_a_day:,} a day, {len(payloads[0])} bytes of CSV.
What must hold? at most {budget_usd} USD a month; p95 ____ ms (yours to say)""")

# %% [markdown]
# <details><summary>The same questions in the AWS CLI</summary>
#
# The price list is public, but its API wants an account; the local cloud has none. `lab cost` prices what a tenant
# really used.
#
# ```bash
# aws pricing get-products --region us-east-1 --service-code AmazonSageMaker \
#     --filters Type=TERM_MATCH,Field=instanceName,Value=ml.m5.large Type=TERM_MATCH,Field=regionCode,Value=us-east-1
# aws cloudwatch get-metric-statistics --namespace AWS/SageMaker --metric-name ModelLatency --statistics Average \
#     --dimensions Name=EndpointName,Value="$NAME" Name=VariantName,Value=only --period 60 \
#     --start-time "$START" --end-time "$END"
# lab cost --tenant week1_aws/05_aws_cost
# ```
# </details>
#
# ## Spend so far
#
# Half a minute of an endpoint, to find out what a month of it would cost.

# %%
lab.spend()

# %% [markdown]
# ## Clean up

# %%
lab.cleanup()
assert not lab.leftovers()

# %% [markdown]
# ## What you learned
#
# - A function bills the memory it asks for, whole milliseconds, each request, each cold start, and its door.
# - A break-even is fixed cost divided by the cost of one more request. It is a number of requests a day, and it moves.
# - What you pay for decides what is worth changing. Here it is the door and the cold starts, not the model.
# - A decision names the number that would overturn it.
#
# **Quiz**: [ten questions on cost](../../book/quizzes/week1_aws.md). **Next**:
# [the milestone of week 1](../../book/week1_aws/milestone.md).
#
# **Further reading**:
# [AWS Lambda pricing](https://aws.amazon.com/lambda/pricing/) ·
# [Lambda bills the init phase](https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/) ·
# [memory and processors of a function](https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html) ·
# [serverless inference](https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html) ·
# M. Nygard, [Documenting architecture decisions](https://www.cognitect.com/blog/2011/11/15/documenting-architecture-decisions) (2011)
