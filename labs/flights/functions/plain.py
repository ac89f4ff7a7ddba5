"""The trees as plain lists: nothing is imported but the standard library."""

import json
import math
import os

with open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "model.json")) as file:
    MODEL = json.load(file)


def leaf(tree, row):
    """The value of the leaf that a row ends in."""
    node = 0
    while tree["feature"][node] >= 0:
        value = row[tree["feature"][node]]
        goes_left = tree["missing_left"][node] if value is None else value <= tree["threshold"][node]
        node = tree["left"][node] if goes_left else tree["right"][node]
    return tree["value"][node]


def handler(event, context):
    """One flight in, the probability of its being late out."""
    flight = json.loads(event["body"])
    codes = MODEL["vocabulary"]
    row = [codes[name].get(flight[name]) if name in codes else flight[name] for name in MODEL["columns"]]
    score = MODEL["start"] + sum(leaf(tree, row) for tree in MODEL["trees"])
    return {"statusCode": 200, "body": json.dumps({"late": round(1 / (1 + math.exp(-score)), 6)})}
