"""Answers: not attempted, wrong (and which misconception explains it), right.

    labs.check("week1.03.traffic", answer)      grades and shows
    labs.hint("week1.03.traffic")               shows the hints, closed until opened

A check is data (see Check); those of a week are in `labs/checks/<week>.py` as `CHECKS`. The three states follow
Kaggle's learntools (https://github.com/Kaggle/learntools, core/problem.py).
"""

from labs.checks.desk import WrongAnswer, check, find, hint
from labs.checks.grading import Check, CheckError, Misconception, NotAttempted, Result, attempt_me, called

__all__ = [
    "Check", "CheckError", "Misconception", "NotAttempted", "Result", "WrongAnswer", "attempt_me", "called", "check",
    "find", "hint",
]  # fmt: skip
