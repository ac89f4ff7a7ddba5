"""Train the flights model: will this flight arrive 15 minutes late or more?

A plain script. It learns from the environment where its data is and where the model goes (SM_CHANNEL_TRAIN,
SM_MODEL_DIR ...), and from its arguments what to try. It runs the same by hand, in the local cloud and in the
container `sagemaker-scikit-learn:1.4-2` (Python 3.10, scikit-learn 1.4.2).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from inference import CATEGORIES, COLUMNS, encode, versions  # type: ignore[import-not-found]  # beside this file
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

LABEL = "late"
SWEEP: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.05, 0.1, 0.2),
    "max_leaf_nodes": (15, 31),
    "max_iter": (50, 200),
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Hyperparameters arrive as arguments, folders from the environment."""
    parser = argparse.ArgumentParser(description="Train the flights model.")
    parser.add_argument("--learning_rate", type=float, default=0.1)
    parser.add_argument("--max_leaf_nodes", type=int, default=31)
    parser.add_argument("--max_iter", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sweep", type=int, default=0, help="try this many settings and keep the best")
    parser.add_argument("--share", choices=("interleaved", "balanced"), default="interleaved")
    parser.add_argument("--train", default=os.environ.get("SM_CHANNEL_TRAIN", "train"))
    parser.add_argument("--validation", default=os.environ.get("SM_CHANNEL_VALIDATION", "validation"))
    parser.add_argument("--model_dir", default=os.environ.get("SM_MODEL_DIR", "model"))
    parser.add_argument("--checkpoints", default="/opt/ml/checkpoints")
    return parser.parse_args(argv)


def this_host() -> tuple[str, int, int]:
    """(name of this instance, its place among all, how many there are)."""
    hosts = sorted(json.loads(os.environ.get("SM_HOSTS", '["algo-1"]')))
    name = os.environ.get("SM_CURRENT_HOST", hosts[0])
    return name, hosts.index(name), len(hosts)


def read(folder: str) -> tuple[list[dict[str, Any]], Any]:
    """All CSV files of a channel as (rows, labels)."""
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise FileNotFoundError(f"No CSV file in channel {folder}. Check the channel's S3 URI.")
    rows: list[dict[str, Any]] = []
    for path in files:
        with path.open(newline="") as file:
            rows.extend(csv.DictReader(file))
    missing = sorted({*COLUMNS, LABEL} - set(rows[0]))
    if missing:
        raise ValueError(f"The channel {folder} lacks the columns {missing}. Write it with labs.flights.")
    return rows, np.array([int(row[LABEL]) for row in rows])


def settings(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The settings to try: one, or the first `sweep` of a grid."""
    if args.learning_rate <= 0:
        raise ValueError(f"learning_rate is {args.learning_rate}, must be above 0. Pass for example 0.1")
    if not args.sweep:
        return [{name: getattr(args, name) for name in SWEEP}]
    grid = itertools.product(*SWEEP.values())
    return [dict(zip(SWEEP, values, strict=True)) for values in grid][: args.sweep]


def cost(setting: dict[str, Any]) -> int:
    """How much work a setting is, roughly: each tree costs something to begin, and something per leaf."""
    return int(setting["max_iter"] * (50 + setting["max_leaf_nodes"]))


def my_share(tries: list[dict[str, Any]], place: int, hosts: int, share: str) -> list[dict[str, Any]]:
    """The settings this instance must try. All instances compute the same division, so nobody has to ask.

    `interleaved` deals them out like cards. `balanced` gives the next longest to whoever has least to do.
    """
    if share == "interleaved":
        return tries[place::hosts]
    loads = [0] * hosts
    mine = []
    for setting in sorted(tries, key=cost, reverse=True):
        host = loads.index(min(loads))
        loads[host] += cost(setting)
        if host == place:
            mine.append(setting)
    return mine


def fit(
    setting: dict[str, Any], train: tuple[Any, Any], validation: tuple[Any, Any], threads: int
) -> tuple[HistGradientBoostingClassifier, float, float]:
    """Fit one classifier and judge it on the later months."""
    categorical = [name in CATEGORIES for name in COLUMNS]
    classifier = HistGradientBoostingClassifier(
        **setting, categorical_features=categorical, early_stopping=False, random_state=0
    )
    with threadpool_limits(threads):
        classifier.fit(*train)
        late = classifier.predict_proba(validation[0])[:, 1]
    return classifier, float(roc_auc_score(validation[1], late)), float(log_loss(validation[1], late))


class Checkpoint:
    """What is already done, on disk after every setting: a reclaimed instance loses one fit, not the sweep."""

    def __init__(self, folder: str, host: str) -> None:
        self.state = Path(folder) / f"{host}.json"
        self.best = Path(folder) / f"{host}.joblib"
        self.done: list[dict[str, Any]] = json.loads(self.state.read_text()) if self.state.exists() else []

    def has(self, setting: dict[str, Any]) -> bool:
        """Whether this setting was tried before."""
        return any(entry["setting"] == setting for entry in self.done)

    def add(self, setting: dict[str, Any], auc: float, classifier: HistGradientBoostingClassifier) -> None:
        """The model first, the list by rename last: whatever the list names is on disk."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        if all(auc > entry["auc"] for entry in self.done):
            joblib.dump(classifier, self.best)
        self.done.append({"setting": setting, "auc": auc})
        part = self.state.with_suffix(".part")
        part.write_text(json.dumps(self.done))
        part.replace(self.state)


def save(args: argparse.Namespace, checkpoint: Checkpoint, vocabulary: dict[str, dict[str, int]]) -> None:
    """Write the model, what is needed to read it again, and (once) the code that serves it.

    Instances of one job share an output archive, so each must use its own file names.
    """
    host, place, hosts = this_host()
    target = Path(args.model_dir)
    target.mkdir(parents=True, exist_ok=True)
    name = "model" if hosts == 1 else f"model-{host}"
    best = max(checkpoint.done, key=lambda entry: entry["auc"])
    shutil.copyfile(checkpoint.best, target / f"{name}.joblib")
    about = {"file": f"{name}.joblib", **best, "versions": versions(), "vocabulary": vocabulary}
    (target / f"{name}.json").write_text(json.dumps(about, indent=1))
    if place == 0:
        (target / "code").mkdir(exist_ok=True)
        shutil.copyfile(Path(__file__).with_name("inference.py"), target / "code" / "inference.py")


def say(text: str) -> None:
    """One line of the log, at once: it is what SageMaker reads metrics from."""
    print(f"{this_host()[0]}: {text}", flush=True)


def prepare(args: argparse.Namespace) -> tuple[tuple[Any, Any], tuple[Any, Any], dict[str, dict[str, int]]]:
    """Both channels as (matrix, labels), and the codes of the categories, learned from the training rows alone."""
    started = time.perf_counter()
    (rows, labels), (later_rows, later_labels) = read(args.train), read(args.validation)
    vocabulary = {
        name: {value: code for code, value in enumerate(sorted({row[name] for row in rows}))} for name in CATEGORIES
    }
    say(f"{len(rows)} rows to learn from, {len(later_rows)} to be judged on")
    train, validation = (encode(rows, vocabulary), labels), (encode(later_rows, vocabulary), later_labels)
    say(f"setup_seconds={time.perf_counter() - started:.2f};")
    return train, validation, vocabulary


def run(args: argparse.Namespace) -> None:
    """Try this instance's share of the settings, keep the best."""
    host, place, hosts = this_host()
    mine = my_share(settings(args), place, hosts, args.share)
    train, validation, vocabulary = prepare(args)
    checkpoint = Checkpoint(args.checkpoints, host)
    if checkpoint.done:
        say(f"checkpoint found: {len(checkpoint.done)} of {len(mine)} settings were done before")
    for setting in mine:
        if checkpoint.has(setting):
            continue
        started = time.perf_counter()
        classifier, auc, loss = fit(setting, train, validation, args.threads)
        checkpoint.add(setting, auc, classifier)
        seconds = time.perf_counter() - started
        say(f"{setting} validation:auc={auc:.4f}; validation:log_loss={loss:.4f}; fit_seconds={seconds:.2f};")
    save(args, checkpoint, vocabulary)
    # The last value a job prints of a metric is the one that its record keeps.
    say(f"best of {len(checkpoint.done)}: validation:auc={max(entry['auc'] for entry in checkpoint.done):.4f};")


def main() -> None:
    """Run, and leave the reason where SageMaker looks for it when something goes wrong."""
    try:
        run(arguments())
    except Exception as error:
        # SageMaker shows the beginning of this file as the job's FailureReason.
        failure = os.environ.get("SM_OUTPUT_FAILURE")
        if failure:
            Path(failure).write_text(f"{type(error).__name__}: {error}")
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
