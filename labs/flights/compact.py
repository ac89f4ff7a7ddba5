"""A gradient boosting model as plain numbers, so that it can be read without scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier


def plain_trees(classifier: HistGradientBoostingClassifier) -> dict[str, Any]:
    """A fitted binary classifier as JSON can hold it: `start`, and `trees` as lists of equal length, one item a node.

    The probability of class 1 is 1 / (1 + exp(-s)), s being `start` plus the `value` of the leaf that a row reaches in
    each tree. Node 0 is the root. A node with `feature` -1 is a leaf; from another one a row goes to `left` when its
    feature is at most `threshold` (or is missing and `missing_left` is true), else to `right`.

    Reads scikit-learn's own node arrays, for which there is no public call; a test compares the answers. Raises
    ValueError for categorical splits and for more than two classes.
    """
    predictors = classifier._predictors
    if any(len(stage) != 1 for stage in predictors):
        raise ValueError("The classifier has more than two classes; only two can be written as plain trees.")
    return {
        "start": float(classifier._baseline_prediction.item()),
        "trees": [_tree(stage[0].nodes) for stage in predictors],
    }


def _tree(nodes: Any) -> dict[str, list[Any]]:
    if nodes["is_categorical"].any():
        raise ValueError("The trees split on categories. Train with numbers for them (no categorical_features).")
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "feature": [-1 if ends else int(index) for ends, index in zip(leaf, nodes["feature_idx"], strict=True)],
        "threshold": [0.0 if ends else float(at) for ends, at in zip(leaf, nodes["num_threshold"], strict=True)],
        "missing_left": nodes["missing_go_to_left"].astype(bool).tolist(),
        "left": nodes["left"].tolist(),
        "right": nodes["right"].tolist(),
        "value": nodes["value"].tolist(),
    }
