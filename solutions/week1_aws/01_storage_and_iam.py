# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Guard the flights: who may read them?
#
# A colleague put the flights into a bucket, beside a list of the crews' salaries, and sent a link around. Some weeks
# later the flights of January are gone, nobody knows who has read what, and the bill has grown although "everything was
# deleted". You rebuild the bucket so that none of this can happen: a budget first, then versions, links that end, a
# role that may read one thing, and a secret that is in no notebook.

# %% [markdown]
# | | |
# | --- | --- |
# | **Objectives** | You will set a budget and say what it cannot do, recover a file that was overwritten and deleted, write a lifecycle rule, predict what a signed link opens, write a policy for one prefix and prove it, and keep a secret out of code |
# | **Prerequisites** | [the tour](../start/00_tour.ipynb); the page [IAM and security](../../book/start/iam_and_security.md) |
# | **Time** | 40 minutes to read and think; the machine works some seconds of them |
# | **Cost** | local USD 0; on a real account below USD 0.01 (a few megabytes for a few minutes, one secret) |
# | **Kind** | core |
# | **Versions of a real run** | no container; boto3 1.43 |
# | **Last ran on a real account** | never |

# %% [markdown]
# ## Set up
#
# With `target = "aws"` put an address of yours into `mail_to`: the budget writes to it. Locally no mail is sent.

# %% tags=["parameters"]
target = "local"
limit_usd = 20
mail_to = "team-flights@example.org"

# %%
import json

import httpx
import labs
import pandas as pd
from botocore.exceptions import ClientError
from labs import flights

# %%
lab = labs.connect(target, lab="storage-and-iam")
s3, iam, secrets, budgets = (lab.client(name) for name in ("s3", "iam", "secretsmanager", "budgets"))

# %% [markdown]
# ## A budget first
#
# Before anything that can cost money there is something that watches. A *budget* compares what was spent with a limit
# and writes to you: here at half of the limit, at four fifths, and when the forecast reaches all of it.

# %%
budget = lab.name("learning")
alerts = [
    {
        "Notification": {
            "NotificationType": kind, "ComparisonOperator": "GREATER_THAN",
            "Threshold": percent, "ThresholdType": "PERCENTAGE",
        },
        "Subscribers": [{"SubscriptionType": "EMAIL", "Address": mail_to}],
    }
    for kind, percent in (("ACTUAL", 50), ("ACTUAL", 80), ("FORECASTED", 100))
]  # fmt: skip
limit = {"Amount": str(limit_usd), "Unit": "USD"}
rule = {"BudgetName": budget, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}
lab.track("budgets", "budget", budget)
budgets.create_budget(AccountId=lab.account, Budget=rule, NotificationsWithSubscribers=alerts)
found = budgets.describe_budget(AccountId=lab.account, BudgetName=budget)["Budget"]
print(f"limit {found['BudgetLimit']['Amount']} USD, spent {found['CalculatedSpend']['ActualSpend']['Amount']} USD")

# %% [markdown]
# The local cloud keeps budgets but spends nothing, so here this number is always 0; `lab.spend()` below shows what was
# used. On AWS the number is real, and old: its data is renewed up to three times a day, typically 8 to 12 hours apart.
#
# **Your turn.** Just after such a renewal somebody starts the largest training machine there is and goes home. How
# many USD are gone before the first mail can leave, if the next renewal comes 12 hours later?

# %%
largest = labs.cost.default_book().price("aws", "SageMaker AI", "ml.p5.48xlarge Training", "us-east-1").usd
print(f"ml.p5.48xlarge: {largest} USD per hour. The limit: {limit_usd} USD.")
# BEGIN SOLUTION: US dollars
gone = largest * 12
# END SOLUTION
labs.check("week1_storage.01.budget", gone, limit=limit_usd, usd_per_hour=largest, hours=12)

# %% [markdown]
# ## A bucket that remembers
#
# Two settings belong on every bucket: nobody outside may ever be let in by mistake, and nothing that is overwritten is
# lost. The second is *versioning*. Then January's flights go in, and the salaries beside them.

# %%
bucket = lab.name("flights").lower()
lab.track("s3", "bucket", bucket)
s3.create_bucket(Bucket=bucket)
closed = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(closed, True))
s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": lab.tags})

table = flights.load()
january = table[table["month"] == 1].to_csv(index=False).encode()
key, payroll = "flights/2013/01.csv", "payroll/crew.csv"
s3.put_object(Bucket=bucket, Key=key, Body=january)
s3.put_object(Bucket=bucket, Key=payroll, Body=b"name,usd_a_month\nan amount nobody should read,1\n")
print(f"{key}: {len(january):,} bytes")

# %% [markdown]
# Now the two accidents. A script with a wrong filter writes a file that has only its header, and somebody who wonders
# about the tiny file deletes it. **Predict first:** what will the next cell print as the bytes of `flights/`?
#
# **Your turn**, in the cell after it: for how many bytes of this file does the bucket cost money then?


# %%
def visible_bytes():
    return sum(each["Size"] for each in s3.list_objects_v2(Bucket=bucket, Prefix="flights/").get("Contents", []))


def history():
    return s3.list_object_versions(Bucket=bucket, Prefix=key)


def billed_bytes():
    return sum(each["Size"] for each in history().get("Versions", []))


header = january.splitlines(keepends=True)[0]
steps = {"visible": [visible_bytes()], "billed": [billed_bytes()]}
for call, body in ((s3.put_object, {"Body": header}), (s3.delete_object, {})):
    call(Bucket=bucket, Key=key, **body)
    steps["visible"].append(visible_bytes())
    steps["billed"].append(billed_bytes())
print("visible bytes after upload, overwriting, deleting:", steps["visible"])

# %%
full, broken = len(january), len(header)
print(f"uploaded {full:,} bytes, then {broken:,} bytes, then deleted")
# BEGIN SOLUTION: a number of bytes
paid_for = full + broken
# END SOLUTION
labs.check("week1_storage.01.versions", paid_for, full=full, broken=broken)

# %% [markdown]
# The list is empty, and nothing is lost. Taking the *delete marker* away brings back what lay below it, which is the broken file: undoing
# the last step is not the same as going back to the last good state.
#
# **Your turn.** Write what finds the good one: the newest version with at least so many bytes. `versions` is a list of
# dicts with `VersionId`, `Size` and `LastModified`, in any order.


# %%
# BEGIN SOLUTION: a function of a list of dicts and a number of bytes
def good_version(versions, at_least):
    """The VersionId of the newest version that is large enough."""
    good = [version for version in versions if version["Size"] >= at_least]
    return max(good, key=lambda version: version["LastModified"])["VersionId"]


# END SOLUTION


labs.check("week1_storage.01.recover", good_version)

# %% mystnb={"image": {"alt": "Two lines over four steps. The visible bytes are 2.5 million after the upload, nearly none after overwriting, none after deleting, and 2.5 million again after the restore. The billed bytes never fall, and after the restore they have doubled."}}
whole = next(version for version in history()["Versions"] if version["Size"] == full)
source = {"Bucket": bucket, "Key": key, "VersionId": whole["VersionId"]}
s3.copy_object(Bucket=bucket, Key=key, CopySource=source)
assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == january
steps["visible"].append(visible_bytes())
steps["billed"].append(billed_bytes())
labs.plots.curves(
    {name: [size / 1e6 for size in sizes] for name, sizes in steps.items()},
    title="One file, four steps", x_label="1 uploaded, 2 overwritten, 3 deleted, 4 restored", y_label="megabytes",
    alt="Visible bytes fall to nothing and come back; billed bytes only ever grow",
)  # fmt: skip

# %% [markdown]
# January is back, as a copy on top of everything else: the way back was one more version. A bucket with versions only
# ever grows, unless a *lifecycle rule* takes old versions away.
#
# **Your turn.** One rule, for all files: a version that was covered by a newer one disappears after 30 days. What is
# current stays for ever. (The local cloud keeps rules but does not run them; AWS runs them once a day.)

# %%
# BEGIN SOLUTION: a dict with ID, Status, Filter and what becomes of noncurrent versions
lifecycle_rule = {
    "ID": "thirty days to undo",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
}
# END SOLUTION
labs.check("week1_storage.01.lifecycle", lifecycle_rule)
uploads = {
    "ID": "unfinished uploads", "Status": "Enabled", "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
}  # fmt: skip
_ = s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [uploads]})

# %% [markdown]
# The cell above sets a rule of its own: parts of uploads that were never finished are invisible too, and paid for.
#
# ## A link for one file
#
# A partner without an account shall fetch January, today. A *presigned URL* is a request that you sign and somebody
# else sends: method, file, expiry and your access key's id stand in it, and a checksum over them that only your secret
# can make. You will try it in six ways: `as it is` · `from a stranger` (a program without any credentials) ·
# `another file` (the salaries' path instead) · `a longer life` (a larger number in `X-Amz-Expires`) · `to write` (PUT
# instead of GET) · `after expiry`.
#
# **Your turn, before you run it.** Which of the six will be answered with 200?

# %%
# BEGIN SOLUTION: a set of names
opens = {"as it is", "from a stranger"}
# END SOLUTION
labs.check("week1_storage.01.link", opens)


# %%
def signed(seconds):
    return s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds)


link, short = signed(600), signed(1)
stranger = httpx.Client(trust_env=False)  # knows nothing of this notebook's environment
labs.wait_until(lambda: httpx.get(short).status_code != 200, 30, "Waiting for the short link to expire", every=0.2)
tries = {
    "as it is": httpx.get(link),
    "from a stranger": stranger.get(link),
    "another file": httpx.get(link.replace(key, payroll)),
    "a longer life": httpx.get(link.replace("Expires=600", "Expires=6000")),
    "to write": httpx.put(link, content=b"nonsense"),
    "after expiry": httpx.get(short),
}
for name, answer in tries.items():
    said = answer.text.partition("<Message>")[2].partition(".")[0].partition("<")[0]
    print(f"{name:16} {answer.status_code} {said if answer.status_code != 200 else f'{len(answer.content):,} bytes'}")

# %% [markdown]
# Nothing that was signed can be changed. But the link says nothing about who sends it: that is the whole point of it,
# and the danger. It can do what *you* could do with that one file, it lives seven days at most, and it dies earlier
# when the credentials that signed it do. Whoever posts it in a chat has published the file.
#
# ## A role that may read one thing
#
# For a service that comes every day, a link is the wrong tool. It gets a *role*: a name that something may take on, and
# a *policy* that says what the role may do. What no policy allows is denied; what a policy denies stays denied.
#
# **Your turn.** The policy of a role that reads every file under `flights/` in `bucket`, and can do nothing else.

# %%
# BEGIN SOLUTION: a dict with Version and Statement; a statement has Effect, Action and Resource
policy = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/flights/*"}],
}
# END SOLUTION
labs.check("week1_storage.01.policy", policy, bucket=bucket)

# %% [markdown]
# Believing a policy is not enough, and trying it out on live data is a bad test of "may not delete". IAM can be asked:
# `SimulatePrincipalPolicy` takes a role, an action and a resource, and decides without doing anything. The cell uses a
# policy of its own, which also lets the role read one secret, made first. **Predict first:** which of the eight
# questions get a yes?

# %%
weather_key = secrets.create_secret(Name=lab.name("weather-api-key"), SecretString="winter-2013", Tags=lab.tags)["ARN"]
lab.track("secretsmanager", "secret", weather_key)
other_key = secrets.create_secret(Name=lab.name("payroll-login"), SecretString="not for models", Tags=lab.tags)["ARN"]
lab.track("secretsmanager", "secret", other_key)
allowed = {"s3:GetObject": f"arn:aws:s3:::{bucket}/flights/*", "secretsmanager:GetSecretValue": weather_key}
statements = [{"Effect": "Allow", "Action": action, "Resource": where} for action, where in allowed.items()]
service = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
reader = lab.name("flights-reader")
lab.track("iam", "role", reader)
trust = json.dumps({"Version": "2012-10-17", "Statement": [service]})
arn = iam.create_role(RoleName=reader, AssumeRolePolicyDocument=trust, Tags=lab.tags)["Role"]["Arn"]
document = json.dumps({"Version": "2012-10-17", "Statement": statements})
_ = iam.put_role_policy(RoleName=reader, PolicyName="read-flights", PolicyDocument=document)

# %%
files = f"arn:aws:s3:::{bucket}"
arns = {key: f"{files}/{key}", payroll: f"{files}/{payroll}", "the bucket": files}
arns |= {"weather-api-key": weather_key, "payroll-login": other_key}
questions = [
    ("s3:GetObject", key), ("s3:GetObject", payroll), ("s3:PutObject", key), ("s3:DeleteObject", key),
    ("s3:GetObjectVersion", key), ("s3:ListBucket", "the bucket"),
    ("secretsmanager:GetSecretValue", "weather-api-key"), ("secretsmanager:GetSecretValue", "payroll-login"),
]  # fmt: skip


def decided(action, resource):
    answer = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource])
    return answer["EvaluationResults"][0]["EvalDecision"]


rows = [(action, name, decided(action, arns[name])) for action, name in questions]
assert [row[2] == "allowed" for row in rows] == [True, *[False] * 5, True, False]
pd.DataFrame(rows, columns=["action", "resource", "decision"])

# %% [markdown]
# Six of eight are *implicitDeny*: nobody forbade them, nobody allowed them. The role cannot even list names
# (`s3:ListBucket` is asked of the bucket, not of its files), nor read old versions.
#
# Some of this is enforced on your machine and some only kept, so know which:
#
# | | on AWS | in the local cloud |
# | --- | --- | --- |
# | signature and expiry of a presigned URL | checked | checked |
# | signature of an ordinary call | checked | not checked; only the access key must be known |
# | a request without any credentials | refused, unless a policy allows it | refused |
# | policies of roles and of buckets | decide every call | kept; asked only by the simulation |
# | conditions in a policy (`s3:prefix` …) | evaluated | the simulation does not get their values |
# | credentials of a role that was assumed | work | handed out, then refused |
# | lifecycle rules, budget mails | run daily | kept |
#
# ## A secret
#
# The notebook above never showed a password, because it has none. Code gets the *name* of a secret, and the value when
# it runs. Then the value can change without a new release: that is *rotation*. The role may read one of two secrets.


# %%
def value(stage="AWSCURRENT"):
    return secrets.get_secret_value(SecretId=weather_key, VersionStage=stage)["SecretString"]


in_memory = value()
secrets.put_secret_value(SecretId=weather_key, SecretString="spring-2013")
print(f"a process that read it once: {in_memory}; one that asks again: {value()}; before: {value('AWSPREVIOUS')}")
try:
    secrets.get_secret_value(SecretId=lab.name("no-such-secret"))
except ClientError as error:
    print("a name that does not exist:", error.response["Error"]["Code"])

# %% [markdown]
# A process that read the secret at its start goes on with the old one: ask again when the old one is refused.
#
# | | AWS Secrets Manager | Azure Key Vault | Google Secret Manager |
# | --- | --- | --- | --- |
# | who may read | policy with the secret's ARN | role Key Vault Secrets User, on the vault or secret | role Secret Manager Secret Accessor |
# | versions | stages: current, previous, pending | every version has an id; the newest is the default | numbered, with aliases such as `latest` |
# | rotation | by a Lambda function, or managed | by an event and a function | by a message and a function |
# | after deletion | 7 to 30 days to recover | 7 to 90 days to recover | at once, unless delayed |
#
# <details><summary>The same calls in the AWS CLI</summary>
#
# `lab env` prints the variables that aim the CLI at this notebook's account.
#
# ```bash
# aws s3api list-object-versions --bucket "$BUCKET" --prefix flights/
# aws s3 presign "s3://$BUCKET/flights/2013/01.csv" --expires-in 600
# aws iam simulate-principal-policy --policy-source-arn "$ROLE" --action-names s3:GetObject --resource-arns "$FILE"
# aws secretsmanager get-secret-value --secret-id "$SECRET" --query SecretString --output text
# ```
# </details>
#
# ## Spend so far
#
# A write to S3 costs twelve times as much as a read. On AWS a secret costs 0.40 USD a month on top, from the day it
# exists (assumed; see the price book).

# %%
lab.spend()

# %% [markdown]
# ## Clean up
#
# Emptying a bucket with versions means deleting every version and every marker. The secrets go at once, without their
# days of grace; the budget goes too, since the next lab makes its own.

# %%
lab.cleanup()
assert not lab.leftovers()

# %% [markdown]
# ## What you learned
#
# - A budget is a late message. Quotas, time limits and people stop machines.
# - With versions, deleting and overwriting remove nothing, also not from the bill; a lifecycle rule does.
# - A signed link cannot be changed and does not know who uses it.
# - A policy allows one action on one resource; everything else is denied without being named. Ask IAM, do not hope.
# - Code holds the name of a secret, never the value.
#
# **Quiz**: [ten questions on storage and identity](../../book/quizzes/week1_aws.md). **Next**:
# [02 Train on rented machines](02_sagemaker_training.ipynb).
#
# **Further reading**:
# [how S3 versioning works](https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html) ·
# [presigned URLs](https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html) ·
# [how IAM decides](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html) ·
# [managing costs with AWS Budgets](https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html)
