"""How an AWS request is allowed or denied, in order."""

from __future__ import annotations

from style import Figure

QUESTIONS = (
    ("Is any statement an explicit Deny?", "yes", "Deny"),
    ("Does the organisation (SCP, RCP) allow it?", "no", "Deny"),
    ("Does the resource's policy allow it to this role session?", "yes", "Allow"),
    ("Does an identity policy allow it?", "no", "Deny"),
    ("Do permissions boundary and session policy allow it too?", "no", "Deny"),
)


def draw() -> Figure:
    """Five questions from top to bottom with their exits."""
    f = Figure(
        "iam_decision", 760, 432,
        "How AWS decides whether a call is allowed",
        "Five questions in order. An explicit deny anywhere ends in deny. An organisation policy that does not allow "
        "ends in deny. A resource policy that names the role session in the same account ends in allow. No identity "
        "policy that allows ends in deny. A boundary or session policy that does not allow ends in deny. Otherwise "
        "the call is allowed.",
    )  # fmt: skip
    for row, (question, answer, end) in enumerate(QUESTIONS):
        top = 14 + 72 * row
        f.box(40, top, 440, 46, question, "paper", bold=False)
        f.box(600, top, 120, 46, end, "bad" if end == "Deny" else "data")
        f.arrow((480, top + 23), (600, top + 23), text=answer)
        f.arrow((260, top + 46), (260, top + 72))
        f.label(292, top + 59, "no" if answer == "yes" else "yes")
    f.box(200, 374, 120, 46, "Allow", "data")
    return f


if __name__ == "__main__":
    draw().save()
