# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train, serve, break and bill: the tour
#
# A flight leaves New York in two hours. Will it arrive late? In five minutes you train a model that has an opinion,
# put it behind an endpoint, ask it, break it, and read what all of that cost. You use Amazon SageMaker AI through the
# vendor's own SDKs; on this machine they talk to a local cloud in which the training really trains and the endpoint
# really answers. Nothing leaves your machine and nothing is charged.

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will start a training job, deploy its model, explain which columns a model may not see, calculate what retries hide, and predict the bill of an endpoint that nobody uses |
# | **Prerequisites** | Python; the how to [work with the labs](../../book/start/working.md) |
# | **Time** | 5 minutes to read and run; the machine works half a minute of it |
# | **Cost** | local USD 0; on a real account well below USD 0.05 (one ml.m5.large for some minutes, twice) |
# | **Kind** | core |
# | **Versions of a real run** | container `sagemaker-scikit-learn:1.4-2` (Python 3.10, scikit-learn 1.4.2); sagemaker 3.27, boto3 1.43 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up
#
# `target` decides where this notebook runs. `"local"` is this machine; `"aws"` is a real account, and then
# `labs.connect` wants a budget and a confirmation first.

# %% tags=["parameters"]
target = "local"

# %%
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import labs
from botocore.config import Config
from botocore.exceptions import ClientError
from labs import flights
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, MetricDefinition, SourceCode

# %%
lab = labs.connect(target, lab="tour")

# %% [markdown]
# ## The question
#
# The data are 336,776 real departures from New York's three airports in 2013, with the weather of each hour. A flight
# is *late* when it arrives 15 minutes or more after schedule, the US Department of Transportation's own rule.
#
# **Predict first.** Of 100 flights, how many were late over the whole year? Write a number down. A model has to beat
# whoever always says "on time", and that is easier or harder depending on this number.

# %%
# BEGIN SOLUTION: your guess, a number from 0 to 100
guess = 30
# END SOLUTION

# %%
known = flights.features()
late_share = known["late"].mean()
print(f"{len(known):,} flights with a known outcome: {late_share:.1%} were late. Your guess: {guess}%.")
print("Without an outcome:", flights.unlabelled().to_dict())

# %% [markdown]
# Flights that never left have no arrival delay, so no label. They are left out here; keep in mind that the model has
# never seen the worst days in full.
#
# **Your turn.** The model must answer two hours before departure. Which of these five columns may it see?
# `carrier` · `distance` · `dep_delay` (minutes late off the gate) · `sched_dep_time` · `air_time`

# %%
# BEGIN SOLUTION: a set of names
allowed = {"carrier", "distance", "sched_dep_time"}
# END SOLUTION
labs.check("tour.known", allowed)
labs.hint("tour.known")

# %% [markdown]
# ## Train
#
# Why not just call `fit` here? Because then the model exists in this kernel only: nobody can say later with which
# code, data and settings it was made, and the next one needs a bigger machine than yours. A *training job* is a
# process on a machine that is rented for exactly that run. You hand over a script, data and settings, and get back a
# model file and a log.
#
# The script is `labs/flights/scripts/train.py`, 200 lines of plain Python. It learns from January to June and is judged
# on July. Its score is the AUC: the probability that it gives a late flight a higher risk than a punctual one. A coin
# has 0.5.

# %%
channels = flights.write_training_channel()
trainer = ModelTrainer(
    sagemaker_session=lab.sagemaker_session(),
    training_image=lab.image("sklearn"),
    role=lab.role,
    base_job_name="tour",
    source_code=SourceCode(source_dir=str(flights.SCRIPTS), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"max_iter": 50},
).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in flights.METRICS.items()])

# %%
data = [InputData(channel_name=path.name, data_source=str(path)) for path in (channels.train, channels.validation)]
trainer.train(input_data_config=data, wait=False, logs=False)
job_name = trainer._latest_training_job.training_job_name
sagemaker = lab.client("sagemaker")


def job():
    return sagemaker.describe_training_job(TrainingJobName=job_name)


labs.wait_for_status(lambda: job()["TrainingJobStatus"], "Completed", 900, f"Training job {job_name}", every=1)
{metric["MetricName"]: round(metric["Value"], 4) for metric in job()["FinalMetricDataList"]}

# %% [markdown]
# About three times in four the model ranks the pair correctly: useful, far from perfect. Weather and schedule do not
# know that an aircraft came in late.
#
# ## Serve
#
# The job left a file in S3, `model.tar.gz`. An *endpoint* is one or more machines that unpack it, load it and answer
# over HTTPS until you delete them. Three calls make one: what to serve, on what, and under which name.

# %%
name = lab.name("tour")
container = {
    "Image": lab.image("sklearn"),
    "ModelDataUrl": job()["ModelArtifacts"]["S3ModelArtifacts"],
    "Environment": {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
}
machines = {"VariantName": "only", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
sagemaker.create_model(ModelName=name, ExecutionRoleArn=lab.role, PrimaryContainer=container)
sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[machines])
sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def status():
    return sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]


labs.wait_for_status(status, "InService", 900, f"Endpoint {name}", every=1)

# %% [markdown]
# **Predict first.** One real flight of July, and the same flight as if it left at another hour. How many times as
# risky as its best hour is its worst?

# %%
# BEGIN SOLUTION: your guess, a number
times_as_risky = 2
# END SOLUTION

# %%
flight = flights.sample(1)[0]
hours = list(range(6, 22))
body = json.dumps({"instances": [{**flight, "hour": hour} for hour in hours]})
runtime = lab.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=body)
risk = json.loads(answer["Body"].read())["predictions"]
really = risk[hours.index(flight["hour"])]
print(f"{flight['carrier']} from {flight['origin']}, really at {flight['hour']}:00: {really:.0%}")
worse = max(risk) / min(risk)
print(f"Best hour {min(risk):.0%}, worst hour {max(risk):.0%}: {worse:.1f} times. Your guess: {times_as_risky}.")

# %% [markdown]
# One request asked sixteen questions. Beside the model's answers stand the real late shares of all July flights by
# hour: delays pile up over the day, because each aircraft takes its own to its next flight. The model's curve is
# flatter, since only the hour changes: the airline, the route and the weather of that one morning stay.

# %% mystnb={"image": {"alt": "Two curves over the scheduled hour from 6 to 21. The real share of late flights in July rises from about a tenth in the early morning to more than half in the evening. The model's risk for one flight rises less, from under a tenth to over a fifth."}}
july = known[(known["month"] == 7) & known["hour"].isin(hours)].groupby("hour")["late"].mean()
labs.plots.curves(
    {"model, this flight": risk, "all July flights": july.tolist()},
    x=hours,
    title="Risk of being late by scheduled hour",
    x_label="scheduled hour",
    y_label="share late",
    alt="Risk of being late by scheduled hour: both curves rise from morning to evening, the model's less",
)

# %% [markdown]
# ## Break
#
# Networks drop packets and services have bad minutes. Here half of all calls to the endpoint shall fail with a 503.
# The same 96 calls are made twice: each once, then with up to three attempts, as the AWS SDKs' standard
# retry mode does.
#
# **Your turn, before you run it.** With three attempts, which share of the calls still fails?

# %%
share = 0.5
# BEGIN SOLUTION: a share between 0 and 1
still_failing = 0.5**3
# END SOLUTION
labs.check("tour.retries", still_failing, share=share)
labs.hint("tour.retries")


# %%
def call(client):
    question = json.dumps({"instances": [flight]})
    try:
        client.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=question)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "answered"


def call_many(retries, count=96, at_once=32):
    client = lab.client("sagemaker-runtime", retries=retries, config=Config(max_pool_connections=at_once))
    with ThreadPoolExecutor(at_once) as pool:
        return Counter(pool.map(call, [client] * count))


with labs.fault("error", service="sagemaker-runtime", percent=100 * share, status=503):
    print("one attempt:   ", dict(call_many(retries=0)))
    print("three attempts:", dict(call_many(retries=2)))

# %% [markdown]
# Retries hide many of the errors, at the price of waiting and of extra load. Whoever counts errors in the client after
# retries counts too few: that is why, in the labs, "no failed request" is counted with retries off.
#
# ## Spend so far
#
# Every second, request and byte of this notebook was metered, and here is the bill at the public list price of
# `us-east-1`; what has no price in the kit's price book is named below the total, not counted as zero. Compare the two
# lines that begin with ml.m5.large.

# %%
spend = lab.spend()
spend

# %% [markdown]
# **Your turn.** You close the laptop and forget the endpoint. Nobody asks it anything. What does it cost in 30 days?

# %%
usd_per_hour = labs.cost.default_book().find("aws", "SageMaker AI", "ml.m5.large Hosting", "us-east-1").usd
print(f"This tour cost {spend.total_usd:.4f} USD. ml.m5.large, hosting: {usd_per_hour} USD per hour")
# BEGIN SOLUTION: US dollars
forgotten = usd_per_hour * 24 * 30
# END SOLUTION
labs.check("tour.bill", forgotten, usd_per_hour=usd_per_hour)
labs.hint("tour.bill")

# %% [markdown]
# <details><summary>The same calls in the AWS CLI</summary>
#
# `lab env` prints the variables that aim the CLI at this notebook's account.
#
# ```bash
# aws sagemaker list-training-jobs --max-results 1
# aws sagemaker describe-endpoint --endpoint-name "$NAME"
# aws sagemaker-runtime invoke-endpoint --endpoint-name "$NAME" --content-type application/json \
#     --cli-binary-format raw-in-base64-out --body '{"instances": [{"month": 7, "hour": 18, "carrier": "B6"}]}' out.json
# aws sagemaker delete-endpoint --endpoint-name "$NAME"
# ```
# </details>
#
# ## Clean up
#
# Deleting is part of the work, not an afterthought. The cell removes all that this notebook made and then proves it.

# %%
lab.cleanup()
assert not lab.leftovers()

# %% [markdown]
# ## What you learned
#
# - A training job is a script, its data and its settings on a rented machine; what remains is a model file and a log.
# - An endpoint is a machine that waits. It costs by the hour, not by the request.
# - A model may only see what exists at the moment of prediction.
# - Retries turn 50% errors into 12.5%, as long as failures are independent.
#
# **Quiz**: [ten questions on the tour](../../book/quizzes/start.md). **Next**:
# [02 Train on SageMaker AI](../week1_aws/02_sagemaker_training.ipynb).
#
# **Further reading**: [SageMaker AI: train a model](https://docs.aws.amazon.com/sagemaker/latest/dg/how-it-works-training.html) ·
# [real-time inference](https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints.html) ·
# [retry behaviour of the AWS SDKs](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)
