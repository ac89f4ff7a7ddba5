# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["exclusive"]
# # Train on rented machines: what does a training job add to a script?
#
# A script that trains a model needs nothing from a cloud. So what do you get for handing it over? You run the same
# script by hand and as a job, let a job fail, share a longer sweep between two machines, and have a cheap machine taken
# away in the middle. Each time you measure, and each time you look at the bill.

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will run one script by hand and as a job, extract a metric from its log, find the reason of a failure, explain why two machines are not twice as fast, and decide when spot capacity pays |
# | **Prerequisites** | [the tour](../start/00_tour.ipynb); regular expressions; the lecture [AWS for machine learning](../../book/week1_aws/aws_for_ml.md) |
# | **Time** | 30 minutes to read and think; the machine works less than one of them |
# | **Cost** | local USD 0; on a real account about USD 0.05 (eight runs of an ml.m5.large, three minutes each) |
# | **Kind** | core |
# | **Versions of a real run** | container `sagemaker-scikit-learn:1.4-2` (Python 3.10, scikit-learn 1.4.2); sagemaker 3.27, boto3 1.43 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up

# %% tags=["parameters"]
target = "local"
settings = 6

# %%
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import labs
from labs import flights
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import (
    CheckpointConfig, Compute, InputData, MetricDefinition, SourceCode, StoppingCondition,
)  # fmt: skip

# %%
lab = labs.connect(target, lab="sagemaker-training")

# %% [markdown]
# ## By hand
#
# The script is `labs/flights/scripts/train.py`. Open it: it takes its settings as arguments, and finds its data and the
# place for its model in environment variables. By hand you set these yourself.

# %%
channels = flights.write_training_channel()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
here = {
    "SM_CHANNEL_TRAIN": str(channels.train),
    "SM_CHANNEL_VALIDATION": str(channels.validation),
    "SM_MODEL_DIR": str(folder / "model"),
}
command = [sys.executable, str(flights.SCRIPTS / "train.py"), "--max_iter", "50", "--checkpoints", str(folder)]
started = time.perf_counter()
print(subprocess.run(command, env={**os.environ, **here}, capture_output=True, text=True, check=True).stdout)
by_hand = time.perf_counter() - started
print(f"{by_hand:.1f} s. Left behind: {sorted(path.name for path in folder.rglob('*') if path.is_file())}")

# %% [markdown]
# It works, and tomorrow you will not know with which data and settings you made this file, nor could a colleague repeat
# it. That is the first thing a job adds: a record.
#
# ## As a job
#
# SageMaker AI copies your *channels* from S3 to a fresh machine, sets those same environment variables, turns
# *hyperparameters* into arguments, starts the script, keeps its log, and puts what it leaves in the model folder into S3.
# It knows nothing of your metrics. You tell it how to read them from the log: by a regular expression.
#
# **Your turn.** Read the AUC, and nothing else, from lines like the one printed above.

# %%
# BEGIN SOLUTION: a regular expression as a string
pattern = r"validation:auc=([0-9.]+);"
# END SOLUTION
labs.check("week1_aws.02.metric", pattern)
labs.hint("week1_aws.02.metric")

# %% [markdown]
# The next cell does not depend on your answer: it reads the metric with a pattern that works. The data go to S3 once;
# every job of this lab reads them from there.

# %%
s3, sagemaker = lab.client("s3"), lab.client("sagemaker")
for channel in (channels.train, channels.validation):
    s3.upload_file(str(channel / "flights.csv"), lab.bucket, f"{lab.prefix}/{channel.name}/flights.csv")
home = f"s3://{lab.bucket}/{lab.prefix}"
inputs = [InputData(channel_name=name, data_source=f"{home}/{name}/") for name in ("train", "validation")]


def trainer_for(hyperparameters, instances=1, spot=None, **extra):
    return ModelTrainer(
        sagemaker_session=lab.sagemaker_session(),
        training_image=lab.image("sklearn"),
        role=lab.role,
        base_job_name="late-flights",
        source_code=SourceCode(source_dir=str(flights.SCRIPTS), entry_script="train.py"),
        compute=Compute(instance_type="ml.m5.large", instance_count=instances, enable_managed_spot_training=spot),
        hyperparameters=hyperparameters,
        **extra,
    ).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in flights.METRICS.items()])


# %%
def start(trainer):
    trainer.train(input_data_config=inputs, wait=False, logs=False)
    return trainer._latest_training_job.training_job_name


def job(name):
    return sagemaker.describe_training_job(TrainingJobName=name)


def finished(name, wanted="Completed", failed=("Failed", "Stopped")):
    labs.wait_for_status(lambda: job(name)["TrainingJobStatus"], wanted, 1800, name, failed=failed, every=1)
    return job(name)


first = finished(start(trainer_for({"max_iter": 50})))
seconds = (first["TrainingEndTime"] - first["TrainingStartTime"]).total_seconds()
print(f"By hand {by_hand:.1f} s, as a job {seconds:.1f} s")

# %% [markdown]
# A job also has to fetch data and code onto a fresh machine, start, pack the model and upload it. Locally that is about
# a second, less than what other work on your computer can move both numbers by. On a real account it is minutes: there
# a machine has to be found and a container image pulled first.
#
# What you have now that you did not have by hand is this record. It is kept after the machine is gone.

# %%
for field in ("HyperParameters", "FinalMetricDataList", "ModelArtifacts", "BillableTimeInSeconds"):
    print(f"{field}: {first[field]}\n")
for channel in first["InputDataConfig"]:
    print(f"Channel {channel['ChannelName']}: {channel['DataSource']['S3DataSource']['S3Uri']}")

# %% [markdown]
# ## When it fails
#
# Most first jobs fail. The machine is gone by the time you look, so the two things to look at are the job's
# `FailureReason` and its log, which CloudWatch keeps. This job gets a learning rate that makes no sense.


# %%
def log_of(name):
    logs, group = lab.client("logs"), "/aws/sagemaker/TrainingJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    names = [stream["logStreamName"] for stream in streams]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, logStreamNames=names)
    return [event["message"].rstrip() for page in pages for event in page["events"]]


failing = finished(start(trainer_for({"learning_rate": -0.1})), wanted="Failed", failed=("Completed", "Stopped"))
print("FailureReason:", failing["FailureReason"])
in_log = [line for line in log_of(failing["TrainingJobName"]) if "learning_rate is" in line]
print("In the log:   ", *in_log)
print("Billed anyway:", failing["BillableTimeInSeconds"], "s")

# %% [markdown]
# The reason is readable because the script wrote it to the file named by `SM_OUTPUT_FAILURE`. A script that just dies
# leaves the end of a stack trace, in the log and in the reason.
#
# ## Two machines
#
# One model takes half a second to fit. A sweep over many settings takes longer, and the settings do not need each
# other, so two machines can share them. The script divides by `SM_HOSTS` and `SM_CURRENT_HOST`: of the list of settings
# the first machine takes numbers 0, 2, 4 …, the second 1, 3, 5 …
#
# **Predict first.** How many times as fast will two machines be?

# %%
# BEGIN SOLUTION: a number, such as 2.0
guess = 2.0
# END SOLUTION


# %%
def sweep(instances, share="interleaved"):
    return finished(start(trainer_for({"sweep": settings, "share": share}, instances)))


def wall(described):
    return (described["TrainingEndTime"] - described["TrainingStartTime"]).total_seconds()


one, two = sweep(1), sweep(2)
faster = wall(one) / wall(two)
print(f"one machine {wall(one):.1f} s, two {wall(two):.1f} s: {faster:.2f} times as fast. Your guess: {guess}")
print(f"billed seconds: {one['BillableTimeInSeconds']} against {2 * two['BillableTimeInSeconds']}")

# %% [markdown]
# Less than two, for two reasons that the log shows. Each machine pays for starting and for reading the data by itself:
# that part does not shrink, however many machines there are (Amdahl's law). And the job ends when the *last* machine
# ends. (Locally there is a third: both machines share the cores of your computer, with whatever else it does.)


# %% mystnb={"image": {"alt": "Two rising lines of seconds spent fitting, one for each machine, over the number of settings done. The line of algo-2 is far steeper and ends much higher: it was dealt the settings with 200 trees, algo-1 those with 50."}}
def fits(described):
    found = (re.search(r"(algo-\d): .*fit_seconds=([0-9.]+);", line) for line in log_of(described["TrainingJobName"]))
    hosts = {}
    for match in filter(None, found):
        hosts.setdefault(match[1], []).append(float(match[2]))
    return dict(sorted(hosts.items()))


spent = {host: [sum(each[: count + 1]) for count in range(len(each))] for host, each in fits(two).items()}
labs.plots.curves(
    spent, title="Interleaved: who worked how long", x_label="settings done", y_label="seconds of fitting",
    alt="Seconds of fitting by settings done: algo-2 works far longer than algo-1",
)  # fmt: skip

# %% [markdown]
# The list alternates between 50 and 200 trees, so taking every second entry gave all the long ones to one machine.
#
# **Your turn.** Write a better division. `costs` are seconds per setting, estimated; return one list of positions per
# machine. Each machine computes this by itself, so the same input must always give the same division.


# %%
# BEGIN SOLUTION: longest first, to whoever has least
def assign(costs, hosts):
    """Positions of the settings for each machine."""
    loads = [0.0] * hosts
    shares = [[] for _ in range(hosts)]
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        host = loads.index(min(loads))
        loads[host] += costs[index]
        shares[host].append(index)
    return shares


# END SOLUTION


labs.check("week1_aws.02.share", assign)
labs.hint("week1_aws.02.share")

# %% [markdown]
# The script has such a division built in; the next job uses it. It does better, and still not twice as well: what is
# left is the start of each machine.

# %%
balanced = sweep(2, share="balanced")
for name, described in (("one", one), ("two, interleaved", two), ("two, balanced", balanced)):
    loads = {host: round(sum(each), 1) for host, each in fits(described).items()}
    print(f"{name:17} {wall(described):5.1f} s  {wall(one) / wall(described):4.2f} times as fast  fitting {loads}")

# %% [markdown]
# ## Spot
#
# *Spot* capacity is what the vendor has spare: much cheaper, and it may be taken back with two minutes' notice. Then the
# job starts again on another machine, from nothing, unless it finds a *checkpoint*. The script writes one after every
# setting to `/opt/ml/checkpoints`; SageMaker AI copies that folder to S3 and back.
#
# Here the machine is taken away as soon as the first checkpoint has reached S3 (on a real account nobody can order
# that; there the job just runs). **Predict first:** of how many settings will the work be lost?

# %%
checkpoints = f"{lab.prefix}/checkpoints/{lab.name('sweep')}"
spot_trainer = trainer_for(
    {"sweep": settings},
    spot=True,
    checkpoint_config=CheckpointConfig(s3_uri=f"s3://{lab.bucket}/{checkpoints}"),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=1800, max_wait_time_in_seconds=3600),
)
spot_name = start(spot_trainer)
labs.wait_until(lambda: s3.list_objects_v2(Bucket=lab.bucket, Prefix=checkpoints)["KeyCount"], 900, "First checkpoint")
labs.fault("spot-reclaim", target=spot_name)
spot = finished(spot_name)
for step in spot["SecondaryStatusTransitions"]:
    print(f"{step['StartTime']:%H:%M:%S}  {step['Status']:12} {step['StatusMessage']}")
print("\n".join(line for line in log_of(spot_name) if "checkpoint found" in line))

# %% [markdown]
# Only the setting in progress was lost. Without the checkpoint all of it would have been, and a job that is reclaimed
# often enough would never end.
#
# **Your turn.** Suppose there were no checkpoint. How many times the compute may reclaims cost before spot is dearer
# than on demand? The discount below is the price book's assumption; real ones move with the hour and the machine.

# %%
book = labs.cost.default_book()
kinds = ("Training", "Training Spot")
rate = {kind: book.find("aws", "SageMaker AI", f"ml.m5.large {kind}", "us-east-1").usd for kind in kinds}
discount = 1 - rate["Training Spot"] / rate["Training"]
print(f"on demand {rate['Training']:.3f} USD per hour, spot {rate['Training Spot']:.3f}: {discount:.1%} off")
# BEGIN SOLUTION: a number
times = 1 / (1 - discount)
# END SOLUTION
labs.check("week1_aws.02.break_even", times, discount=discount)
labs.hint("week1_aws.02.break_even")

# %% [markdown]
# <details><summary>The same calls in the AWS CLI</summary>
#
# `lab env` prints the variables that aim the CLI at this notebook's account.
#
# ```bash
# aws sagemaker list-training-jobs --status-equals Failed --query 'TrainingJobSummaries[].TrainingJobName'
# aws sagemaker describe-training-job --training-job-name "$JOB" --query FailureReason
# aws logs filter-log-events --log-group-name /aws/sagemaker/TrainingJobs --log-stream-name-prefix "$JOB/"
# aws sagemaker stop-training-job --training-job-name "$JOB"
# ```
# </details>
#
# ## Spend so far
#
# Instances · seconds · price. Sharing bought time with money; spot bought money with time.

# %%
jobs = {"one": one, "two, interleaved": two, "two, balanced": balanced, "spot, reclaimed": spot}
for name, described in jobs.items():
    kind = "Training Spot" if described["EnableManagedSpotTraining"] else "Training"
    machine_seconds = described["TrainingTimeInSeconds"] * described["ResourceConfig"]["InstanceCount"]
    usd = machine_seconds / 3600 * rate[kind]
    print(f"{name:17} {wall(described):5.1f} s on the clock  {machine_seconds:3d} machine seconds  {usd:.6f} USD")
lab.spend()

# %% [markdown]
# ## Clean up
#
# Finished jobs cost nothing and cannot be deleted on AWS; what they left in S3 costs by the month.

# %%
lab.cleanup()
assert not lab.leftovers()

# %% [markdown]
# ## What you learned
#
# - A job adds to a script: a fresh machine, a record of code, data and settings, a log that outlives the machine, and a
#   metric if you say how to read it.
# - A failing job tells why, if the script says why.
# - Two machines are less than twice as fast: each starts by itself, and the slowest decides. Equal counts are not equal
#   work.
# - Spot pays when a reclaim costs little, and a checkpoint makes it cost little.
#
# **Quiz**: [ten questions on training jobs](../../book/quizzes/week1_aws.md). **Next**:
# [03 Change a model without dropping a request](03_sagemaker_endpoint.ipynb).
#
# **Further reading**:
# [how SageMaker AI provides training information](https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html) ·
# [managed spot training](https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html) ·
# G. M. Amdahl, *Validity of the single processor approach to achieving large scale computing capabilities* (1967) ·
# R. L. Graham, *Bounds on multiprocessing timing anomalies* (1969)
