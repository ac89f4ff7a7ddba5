# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["exclusive"]
# # Change a model without dropping a request
#
# A model in production is replaced every few weeks, and nobody should notice. You compare two variants under real
# traffic, let an alarm watch them, approve a version, and swap the whole fleet while requests keep coming in. Then you
# count how many failed.

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will compute a percentile by hand, send a tenth of the traffic to a canary, set an alarm in the right unit, approve a model version, and prove that an update dropped nothing |
# | **Prerequisites** | [02 Train on rented machines](02_sagemaker_training.ipynb); the page [Percentiles, open and closed loops](../../book/week1_aws/percentiles.md) |
# | **Time** | 35 minutes to read and think; the machine works less than one of them |
# | **Cost** | local USD 0; on a real account about USD 0.10 (three instances ml.m5.large, some fifteen minutes each) |
# | **Kind** | core |
# | **Versions of a real run** | container `sagemaker-scikit-learn:1.4-2` (Python 3.10, scikit-learn 1.4.2); sagemaker 3.27, boto3 1.43 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up

# %% tags=["parameters"]
target = "local"
requests_per_second = 50

# %%
import datetime
import math
import time
from collections import Counter

import labs
from labs import flights
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

# %%
lab = labs.connect(target, lab="sagemaker-endpoint")
sagemaker, runtime = lab.client("sagemaker"), lab.client("sagemaker-runtime", retries=0)

# %% [markdown]
# ## Percentiles
#
# Two models are needed, the one in service and its successor. Their jobs start now and train while you read.
#
# An average hides the people who wait. *p99* is the time that 99 of 100 requests do not exceed; the hundredth waits
# longer. Two things go wrong with it so often that you should compute it once by hand: too few requests, and averaging
# the percentiles of several machines, which gives the percentile of nothing.
#
# **Your turn**, below the cell that starts the jobs. Nearest rank: the smallest value that at least `percent` of all
# values do not exceed.

# %%
channels = flights.write_training_channel()
data = [InputData(channel_name=path.name, data_source=str(path)) for path in (channels.train, channels.validation)]


def train(**hyperparameters):
    trainer = ModelTrainer(
        sagemaker_session=lab.sagemaker_session(),
        training_image=lab.image("sklearn"),
        role=lab.role,
        base_job_name=lab.name("late"),
        source_code=SourceCode(source_dir=str(flights.SCRIPTS), entry_script="train.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        hyperparameters=hyperparameters,
    )
    trainer.train(input_data_config=data, wait=False, logs=False)
    return trainer._latest_training_job.training_job_name


job_names = {"stable": train(max_iter=50), "canary": train(max_iter=200)}


# %%
# BEGIN SOLUTION: a function of a list of milliseconds and a percentage
def percentile(values, percent):
    """The smallest value that at least `percent` of the values do not exceed."""
    place = max(1, math.ceil(percent / 100 * len(values)))
    return sorted(values)[place - 1]


# END SOLUTION


labs.check("week1_aws.03.percentile", percentile)
labs.hint("week1_aws.03.percentile")

# %% [markdown]
# ## Two variants
#
# First the paperwork. A *model package* in the registry ties a model file to the container that can serve it, and says
# whether somebody has approved it. A pipeline deploys only what is approved; who approves is a person, or a test.


# %%
def finished(name):
    def status():
        return sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]

    labs.wait_for_status(status, "Completed", 1800, name, every=1)
    return sagemaker.describe_training_job(TrainingJobName=name)


artifacts = {role: finished(name)["ModelArtifacts"]["S3ModelArtifacts"] for role, name in job_names.items()}
serving = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
group = lab.name("late-flights")
made = sagemaker.create_model_package_group(ModelPackageGroupName=group)

# %%
packages = {}
for role, artifact in artifacts.items():
    container = {"Image": lab.image("sklearn"), "ModelDataUrl": artifact, "Environment": serving}
    packages[role] = sagemaker.create_model_package(
        ModelPackageGroupName=group,
        ModelPackageDescription=f"{role}, from {job_names[role]}",
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["text/csv", "application/json"],
            "SupportedResponseMIMETypes": ["text/csv", "application/json"],
        },
    )["ModelPackageArn"]
sagemaker.update_model_package(
    ModelPackageArn=packages["stable"], ModelApprovalStatus="Approved", ApprovalDescription="in service since spring"
)
for each in sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]:
    print(f"version {each['ModelPackageVersion']}: {each['ModelApprovalStatus']}")

# %% [markdown]
# The canary is pending: good enough for a tenth of the traffic, not for all of it. An endpoint can hold several
# *production variants* with a weight each.
#
# **Your turn.** Somebody has given the stable variant the weight 3, for reasons long forgotten. Which weight sends one
# request in ten to the canary?

# %%
# BEGIN SOLUTION: a number
weight = 3 / 9
# END SOLUTION
labs.check("week1_aws.03.weights", weight, stable=3)
labs.hint("week1_aws.03.weights")


# %%
def model_of(role):
    name = lab.name(role)
    container = {"Image": lab.image("sklearn"), "ModelDataUrl": artifacts[role], "Environment": serving}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=lab.role, PrimaryContainer=container)
    return name


def config_of(**variants):
    name = lab.name("late")
    fixed = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    production = [
        {"VariantName": variant, "ModelName": models[role], "InitialVariantWeight": weight, **fixed}
        for variant, (role, weight) in variants.items()
    ]
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=production)
    return name


# %%
models = {role: model_of(role) for role in artifacts}
endpoint = lab.name("late")
config = config_of(stable=("stable", 0.9), canary=("canary", 0.1))
sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=config)


def in_service():
    def status():
        return sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"]

    return labs.wait_for_status(status, "InService", 1800, endpoint, every=1)


in_service()

# %% [markdown]
# **Predict first.** Of 300 requests, how many will the canary answer? Exactly 30?

# %%
payload = flights.csv_row(flights.sample(1)[0])


def ask(**options):
    kind = {"ContentType": "text/csv", "Accept": "text/csv"}
    answer = runtime.invoke_endpoint(EndpointName=endpoint, Body=payload, **kind, **options)
    return answer["InvokedProductionVariant"], float(answer["Body"].read())


print(Counter(ask()[0] for _ in range(300)))
for variant in ("stable", "canary"):
    print(f"{variant} says {ask(TargetVariant=variant)[1]:.1%}")

# %% [markdown]
# The split is drawn by lot for each request, so 300 requests give 30 give or take 10 (two standard deviations of a
# binomial: 2 · √(300 · 0.1 · 0.9)). An A/B test needs far more before a difference means anything. `TargetVariant`
# overrides the lot: handy for a test, and for you to see that the two models disagree.
#
# ## An alarm
#
# The endpoint reports itself to CloudWatch: how many invocations, how many errors, how long the model took.

# %%
cloudwatch = lab.client("cloudwatch")


def measured(metric, variant="stable", minutes=15):
    now = datetime.datetime.now(datetime.UTC)
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    points = cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName=metric, Dimensions=dimensions, Period=60,
        StartTime=now - datetime.timedelta(minutes=minutes), EndTime=now + datetime.timedelta(minutes=1),
        Statistics=["Average", "Sum", "SampleCount"],
    )["Datapoints"]  # fmt: skip
    return sorted(points, key=lambda point: point["Timestamp"])


labs.wait_until(lambda: measured("ModelLatency"), 300, "Waiting for the first metrics", every=1)
for point in measured("ModelLatency"):
    count, average = point["SampleCount"], point["Average"]
    print(f"{point['Timestamp']:%H:%M} {count:.0f} requests, average {average:.1f} {point['Unit']}")

# %% [markdown]
# **Your turn.** The team wants an alarm when the model takes more than 50 milliseconds on average over a minute. Which
# number goes into `Threshold`? (The cell then sets an alarm of its own, at ten times what was just measured.)

# %%
# BEGIN SOLUTION: a number
threshold = 50_000
# END SOLUTION
labs.check("week1_aws.03.alarm", threshold)
labs.hint("week1_aws.03.alarm")
alarm = lab.name("slow-model")
cloudwatch.put_metric_alarm(
    AlarmName=alarm, Namespace="AWS/SageMaker", MetricName="ModelLatency", Statistic="Average", Period=60,
    Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "stable"}],
    EvaluationPeriods=1, Threshold=10 * measured("ModelLatency")[-1]["Average"],
    ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching",
)  # fmt: skip
cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"]

# %% [markdown]
# On a real account such an alarm can be handed to the deployment itself, which then rolls back without asking anybody
# (`AutoRollbackConfiguration`).
#
# ## Change it under load
#
# The canary did well: you approve it, and it shall take over everything. `UpdateEndpoint` starts the new fleet beside
# the old one, waits until it is healthy, moves the traffic, lets requests in flight finish, and only then stops the old
# fleet. This is *blue/green*.
#
# While that happens, requests arrive at a constant rate, whether or not earlier ones have been answered: an *open loop*.
# Nothing is retried, so every failure counts, and the endpoint counts as well: CloudWatch's invocations and errors come
# from its side of the line. **Predict first:** how many of the requests will fail?

# %%
sagemaker.update_model_package(
    ModelPackageArn=packages["canary"], ModelApprovalStatus="Approved", ApprovalDescription="better AUC, same latency"
)
# BEGIN SOLUTION: how many requests will fail, a number
guess = 0
# END SOLUTION

# %%
payloads = [flights.csv_row(flight) for flight in flights.sample(100)]
events = {}
with labs.load.run(
    lab, endpoint, payloads, mode="open", rate=requests_per_second, users=32, seconds=1800, background=True
) as load:
    labs.wait_until(lambda: load.so_far().count >= 2 * requests_per_second, 60, "Load on the old fleet")
    events["update called"] = time.time()
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config_of(next=("canary", 1)))
    in_service()
    events["in service"] = time.time()
    after = load.so_far().count
    labs.wait_until(lambda: load.so_far().count >= after + 2 * requests_per_second, 60, "Load on the new fleet")
    result = load.stop()
print(result)
print(f"failed: {result.failed}. Your guess: {guess}")
assert result.failed == 0, result.errors()


# %% mystnb={"image": {"alt": "Stacked areas of requests per second over time, all at the same height. At first nine tenths come from the variant stable and one tenth from canary; within a moment both give way to the variant next, without a gap and without a failure."}}
def counted(metric):
    return sum(point["Sum"] for variant in ("stable", "canary", "next") for point in measured(metric, variant))


sent = 302 + result.count  # those asked one by one, and the load
labs.wait_until(lambda: counted("Invocations") >= sent, 300, "Waiting for the endpoint's own count", every=1)
errors = counted("Invocation4XXErrors") + counted("Invocation5XXErrors")
print(f"{sent} requests sent. The endpoint counts {counted('Invocations'):.0f}, {errors:.0f} of them with an error.")
labs.plots.traffic_split(
    result,
    events=events,
    seconds=0.5,
    alt="Requests per second by variant: stable and canary give way to next without a gap",
)

# %% [markdown]
# Nothing failed, and yet the update is not free: compare p50 and p99 before and during it. Locally the new fleet boots
# on the same cores that answer requests; on AWS it has machines of its own, and the bump is smaller. (Mind the counts:
# among so few requests a p99 is nearly the maximum.)

# %% mystnb={"image": {"alt": "One point per request: latency in milliseconds on a logarithmic scale over time. Most points lie in a band of a few milliseconds; between the two marked events the band is wider and higher, because new machines start on the same computer, and nothing fails."}}
called, served = events["update called"], events["in service"]
started = result.frame["started"]
parts = {"before": started < called, "during": started.between(called, served), "after": started > served}
for part, rows in parts.items():
    values = result.frame[rows]["latency_ms"].quantile([0.5, 0.99], interpolation="higher")
    print(f"{part:6} {rows.sum():4d} requests, p50 {values[0.5]:6.1f} ms, p99 {values[0.99]:6.1f} ms")
labs.plots.latency_over_time(
    result, events=events, alt="Latency of each request: a wider band while the new fleet starts, no failures"
)

# %% [markdown]
# **Your turn.** For the length of the update two fleets existed: two old instances and one new one. What did that
# overlap cost extra?

# %%
both_seconds = served - called
usd_per_hour = labs.cost.default_book().find("aws", "SageMaker AI", "ml.m5.large Hosting", "us-east-1").usd
print(f"{both_seconds:.1f} s with one extra instance at {usd_per_hour} USD per hour")
# BEGIN SOLUTION: US dollars
overlap_usd = both_seconds / 3600 * usd_per_hour
# END SOLUTION
labs.check("week1_aws.03.update_bill", overlap_usd, both_seconds=both_seconds, instances=1, usd_per_hour=usd_per_hour)
labs.hint("week1_aws.03.update_bill")

# %% [markdown]
# <details><summary>The same calls in the AWS CLI</summary>
#
# `lab env` prints the variables that aim the CLI at this notebook's account.
#
# ```bash
# aws sagemaker update-endpoint --endpoint-name "$NAME" --endpoint-config-name "$CONFIG"
# aws sagemaker update-endpoint-weights-and-capacities --endpoint-name "$NAME" \
#     --desired-weights-and-capacities VariantName=stable,DesiredWeight=0.5 VariantName=canary,DesiredWeight=0.5
# aws sagemaker wait endpoint-in-service --endpoint-name "$NAME"
# aws sagemaker list-model-packages --model-package-group-name "$GROUP" --model-approval-status Approved
# ```
# </details>
#
# ## Spend so far

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
# - A percentile counts people, needs hundreds of requests, and cannot be averaged.
# - Weights are shares of their sum; small samples of a split say little.
# - Read a metric's unit before you set an alarm on it.
# - Blue/green drops nothing because both fleets exist for a while; that while is what it costs.
#
# **Quiz**: [ten questions on endpoints](../../book/quizzes/week1_aws.md). **Next**:
# [the milestone of week 1](../../book/week1_aws/milestone.md).
#
# **Further reading**:
# [blue/green deployments of SageMaker AI](https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html) ·
# [testing production variants](https://docs.aws.amazon.com/sagemaker/latest/dg/model-ab-testing.html) ·
# [endpoint metrics and their units](https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html) ·
# G. Tene, *How NOT to Measure Latency* (2015)
