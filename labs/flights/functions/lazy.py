"""The same work, with everything heavy loaded by the first call instead of before it."""

import json
import os

MODEL = None


def model():
    """The model, loaded when it is first needed."""
    global MODEL
    if MODEL is None:
        import joblib

        os.environ["OMP_NUM_THREADS"] = "1"
        MODEL = joblib.load(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "model.joblib"))
    return MODEL


def handler(event, context):
    """One flight in, the probability of its being late out."""
    import pandas as pd

    flight, known = json.loads(event["body"]), model()
    row = pd.DataFrame([flight])[known["columns"]]
    for name, codes in known["vocabulary"].items():
        row[name] = row[name].map(codes)
    late = known["classifier"].predict_proba(row.astype(float).to_numpy())[0, 1]
    return {"statusCode": 200, "body": json.dumps({"late": round(float(late), 6)})}
