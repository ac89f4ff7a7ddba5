"""The trees as numpy arrays, without scikit-learn: all trees take a step at a time."""

import json
import os

import numpy as np

with open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "model.json")) as file:
    MODEL = json.load(file)
SIZE = max(len(tree["value"]) for tree in MODEL["trees"])


def padded(name, fill):
    """One field of all trees as a matrix, a row per tree."""
    return np.array([tree[name] + [fill] * (SIZE - len(tree[name])) for tree in MODEL["trees"]])


FEATURE, THRESHOLD, VALUE = padded("feature", -1), padded("threshold", 0.0), padded("value", 0.0)
LEFT, RIGHT, MISSING_LEFT = padded("left", 0), padded("right", 0), padded("missing_left", False)
TREES = np.arange(len(MODEL["trees"]))


def late(row):
    """The probability that a flight is late; `row` are its numbers, NaN for what is missing."""
    node = np.zeros(len(TREES), dtype=int)
    while np.any(inner := FEATURE[TREES, node] >= 0):
        value = row[FEATURE[TREES, node]]
        left = np.where(np.isnan(value), MISSING_LEFT[TREES, node], value <= THRESHOLD[TREES, node])
        node = np.where(inner, np.where(left, LEFT[TREES, node], RIGHT[TREES, node]), node)
    return 1 / (1 + np.exp(-(MODEL["start"] + VALUE[TREES, node].sum())))


def handler(event, context):
    """One flight in, the probability of its being late out."""
    flight = json.loads(event["body"])
    codes = MODEL["vocabulary"]
    numbers = [codes[name].get(flight[name]) if name in codes else flight[name] for name in MODEL["columns"]]
    answer = late(np.array(numbers, dtype=float))
    return {"statusCode": 200, "body": json.dumps({"late": round(float(answer), 6)})}
