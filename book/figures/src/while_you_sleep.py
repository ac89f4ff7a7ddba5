"""What a month costs when nobody sends a request."""

from __future__ import annotations

from list_price import usd
from style import Figure

HOURS = 730


def costs() -> list[tuple[str, float]]:
    """Things left on, with US dollars for 730 hours, dearest first."""
    rows = [
        ("managed MLflow server, small", usd("SageMaker AI", "Managed MLflow tracking server Small") * HOURS),
        ("ml.g4dn.xlarge endpoint (one GPU)", usd("SageMaker AI", "ml.g4dn.xlarge Hosting") * HOURS),
        ("ml.m5.large endpoint", usd("SageMaker AI", "ml.m5.large Hosting") * HOURS),
        ("EKS control plane", usd("EKS", "Control plane standard support") * HOURS),
        ("NAT gateway, no traffic", usd("VPC", "NAT gateway") * HOURS),
        ("load balancer (ALB), no traffic", usd("ELB", "Application Load Balancer") * HOURS),
        ("100 GB of forgotten gp3 disk", usd("EBS", "gp3 storage") * 100),
        ("public IPv4 address", usd("VPC", "Public IPv4 address") * HOURS),
        ("100 GB in S3 Standard", usd("S3", "Standard storage") * 100),
        ("Lambda function, never called", 0.0),
    ]
    return sorted(rows, key=lambda row: -row[1])


def draw() -> Figure:
    """Horizontal bars."""
    rows = costs()
    said = "; ".join(f"{name} {cost:,.2f} USD" for name, cost in rows)
    f = Figure(
        "while_you_sleep", 760, 400,
        "List price of a month without a single request (us-east-1)", f"A bar chart: {said}.",
    )  # fmt: skip
    f.sheet(4, 4, 752, 392)
    for row, (name, cost) in enumerate(rows):
        top = 20 + 37 * row
        width = 330 * cost / rows[0][1]
        f.text(286, top + 12, name, "end")
        f.bar(300, top, max(width, 1.5), 24)
        f.text(308 + width, top + 12, f"{cost:,.2f} USD", "start")
    return f


if __name__ == "__main__":
    draw().save()
