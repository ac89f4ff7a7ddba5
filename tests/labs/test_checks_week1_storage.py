"""Every question of lab 01: unattempted, each typical wrong answer with its misconception, right."""

from labs.checks import week1_storage

BUDGET = {"limit": 20, "usd_per_hour": 63.296, "hours": 12}
BYTES = {"full": 2_500_000, "broken": 64}
BUCKET = {"bucket": "flights-1"}
OPEN = {"as it is", "from a stranger"}
FLIGHTS = "arn:aws:s3:::flights-1/flights/*"


def good_version(versions, at_least):
    return max((v for v in versions if v["Size"] >= at_least), key=lambda v: v["LastModified"])["VersionId"]


def newest(versions, at_least):
    return max(versions, key=lambda v: v["LastModified"])["VersionId"]


def largest(versions, at_least):
    return max(versions, key=lambda v: v["Size"])["VersionId"]


def first_large(versions, at_least):
    return next(v["VersionId"] for v in versions if v["Size"] >= at_least)


def oldest(versions, at_least):
    return min(versions, key=lambda v: v["LastModified"])["VersionId"]


def unfinished(versions, at_least):
    return ...


def rule(**changes):
    whole = {
        "ID": "undo", "Status": "Enabled", "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
    }  # fmt: skip
    return {name: value for name, value in (whole | changes).items() if value != "absent"}


def policy(action="s3:GetObject", resource=FLIGHTS, *more, version="2012-10-17"):
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {"Version": version, "Statement": [statement, *more]}


CASES = [
    # check, answer, context, state, misconception
    ("budget", 759.55, BUDGET, "right", ""),
    ("budget", 20, BUDGET, "wrong", "a budget is a limit"),
    ("budget", 0, BUDGET, "wrong", "a budget is a limit"),
    ("budget", 63.296, BUDGET, "wrong", "one hour"),
    ("budget", 63.296 * 24, BUDGET, "wrong", "a whole day"),
    ("budget", 506, BUDGET, "wrong", ""),
    ("versions", 2_500_064, BYTES, "right", ""),
    ("versions", 0, BYTES, "wrong", "deleted is gone"),
    ("versions", 64, BYTES, "wrong", "the newest version counts"),
    ("versions", 2_500_000, BYTES, "wrong", "the old one was replaced"),
    ("versions", 17, BYTES, "wrong", ""),
    ("versions", "all", BYTES, "wrong", ""),
    ("recover", good_version, {}, "right", ""),
    ("recover", newest, {}, "wrong", "the newest, good or not"),
    ("recover", largest, {}, "wrong", "the largest"),
    ("recover", first_large, {}, "wrong", "trusting the order"),
    ("recover", oldest, {}, "wrong", ""),
    ("recover", "c", {}, "wrong", ""),
    ("recover", unfinished, {}, "not attempted", ""),
    ("lifecycle", rule(), {}, "right", ""),
    ("lifecycle", rule(AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}), {}, "right", ""),
    ("lifecycle", rule(Expiration={"ExpiredObjectDeleteMarker": True}), {}, "right", ""),
    ("lifecycle", rule(Expiration={"Days": 30}), {}, "wrong", "expiring what is current"),
    ("lifecycle", rule(Status="Disabled"), {}, "wrong", "a rule that is off"),
    ("lifecycle", rule(Status="absent"), {}, "wrong", "a rule that is off"),
    ("lifecycle", rule(Filter="absent"), {}, "wrong", "a rule for everything needs a filter too"),
    ("lifecycle", rule(NoncurrentVersionExpiration={"NoncurrentDays": 720}), {}, "wrong", "counting in another unit"),
    ("lifecycle", rule(NoncurrentVersionExpiration={"NoncurrentDays": 3}), {}, "wrong", ""),
    ("lifecycle", rule(NoncurrentVersionExpiration="absent"), {}, "wrong", ""),
    ("lifecycle", "delete old things", {}, "wrong", ""),
    ("lifecycle", rule(ID=...), {}, "not attempted", ""),
    ("link", OPEN, {}, "right", ""),
    ("link", {"as it is"}, {}, "wrong", "the link knows its reader"),
    ("link", OPEN | {"another file"}, {}, "wrong", "a key to the bucket"),
    ("link", OPEN | {"a longer life"}, {}, "wrong", "the browser keeps the time"),
    ("link", OPEN | {"after expiry"}, {}, "wrong", "the browser keeps the time"),
    ("link", OPEN | {"to write"}, {}, "wrong", "may read, may write"),
    ("link", {"from a stranger"}, {}, "wrong", ""),
    ("link", "as it is", {}, "wrong", ""),
    ("link", {"by post"}, {}, "wrong", ""),
    ("policy", policy(), BUCKET, "right", ""),
    ("policy", policy(["s3:GetObject"], [FLIGHTS]), BUCKET, "right", ""),
    ("policy", policy() | {"Statement": policy()["Statement"][0]}, BUCKET, "right", ""),
    (
        "policy",
        policy("s3:GetObject", "arn:aws:s3:::flights-1"),
        BUCKET,
        "wrong",
        "the bucket instead of what is in it",
    ),
    ("policy", policy("s3:*"), BUCKET, "wrong", "a star is quicker"),
    ("policy", policy("s3:GetObject", "*"), BUCKET, "wrong", "a star is quicker"),
    (
        "policy",
        policy("s3:*", FLIGHTS, {"Effect": "Deny", "Action": ["s3:Put*", "s3:Delete*"], "Resource": "*"}),
        BUCKET,
        "wrong",
        "a star is quicker",
    ),
    ("policy", policy("s3:GetObject", "arn:aws:s3:::flights-1/*"), BUCKET, "wrong", "the whole bucket"),
    ("policy", policy("s3:GetObject", "arn:aws:s3:::flights-1/flights/2013/*"), BUCKET, "wrong", "one folder deep"),
    (
        "policy",
        policy("s3:GetObject", "arn:aws:s3:::flights-1/flights*"),
        BUCKET,
        "wrong",
        "a prefix without its slash",
    ),
    (
        "policy",
        policy("s3:GetObject", "s3://flights-1/flights/*"),
        BUCKET,
        "wrong",
        "a path like in a file system",
    ),
    (
        "policy",
        policy("s3:GetObject", "arn:aws:s3:::flights-1//flights/*"),
        BUCKET,
        "wrong",
        "a path like in a file system",
    ),
    ("policy", policy(["s3:GetObject", "s3:PutObject"]), BUCKET, "wrong", ""),
    ("policy", policy("s3:ListBucket"), BUCKET, "wrong", ""),
    ("policy", policy(version="2008-10-17"), BUCKET, "wrong", ""),
    ("policy", "{}", BUCKET, "wrong", ""),
    ("policy", {"Statement": ...}, BUCKET, "not attempted", ""),
]
BY_ID = {check.id.rpartition(".")[2]: check for check in week1_storage.CHECKS}
