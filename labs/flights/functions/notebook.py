"""The function as it comes out of a notebook: pandas makes the row, scikit-learn predicts."""

import json
import os

import joblib
import pandas as pd

os.environ["OMP_NUM_THREADS"] = "1"
MODEL = joblib.load(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "model.joblib"))


def handler(event, context):
    """One flight in, the probability of its being late out."""
    flight = json.loads(event["body"])
    row = pd.DataFrame([flight])[MODEL["columns"]]
    for name, codes in MODEL["vocabulary"].items():
        row[name] = row[name].map(codes)
    late = MODEL["classifier"].predict_proba(row.astype(float).to_numpy())[0, 1]
    return {"statusCode": 200, "body": json.dumps({"late": round(float(late), 6)})}
