"""The AWS picture: which service does what for a model."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """A region with a VPC in it and the services that live outside the VPC."""
    f = Figure(
        "aws_for_ml", 760, 470,
        "AWS for machine learning in one picture",
        "Inside a region: S3, ECR, IAM, CloudWatch, Bedrock and Lambda are regional services reached by API. A VPC "
        "spans availability zones; each zone has a public subnet with a load balancer and NAT gateway, and a private "
        "subnet with EC2 or EKS nodes and their EBS disks. SageMaker AI runs training jobs and endpoints on "
        "instances of its own account and can attach them to your private subnets. A gateway endpoint leads from "
        "the VPC to S3 without the NAT gateway.",
    )  # fmt: skip
    f.group(8, 18, 744, 442, "region us-east-1")
    f.box(28, 48, 132, 54, "S3\ndata and artifacts", "data")
    f.box(172, 48, 120, 54, "ECR\nimages", "data")
    f.box(304, 48, 132, 54, "IAM\nroles and policies", "people")
    f.box(448, 48, 132, 54, "CloudWatch\nmetrics, logs", "network")
    f.box(592, 48, 140, 54, "Bedrock\nmodels by token", "model")
    f.group(28, 156, 420, 292, "VPC 10.0.0.0/16: yours")
    for column, zone in enumerate(("zone a", "zone b")):
        left = 44 + 204 * column
        f.group(left, 188, 184, 248, zone)
        f.box(left + 12, 206, 160, 58, "public subnet\nload balancer, NAT", "network")
        f.box(left + 12, 282, 160, 58, "private subnet\nEC2 or EKS nodes", "compute")
        f.box(left + 12, 364, 160, 58, "EBS\none zone only", "data")
        f.arrow((left + 92, 340), (left + 92, 364), both=True)
    f.group(484, 136, 250, 214, "SageMaker AI: AWS's instances")
    f.box(500, 164, 218, 50, "training job\nreads and writes S3", "compute")
    f.box(500, 226, 218, 50, "endpoint\ninstances in several zones", "compute")
    f.box(500, 288, 218, 50, "registry, pipelines, tuning", "model", bold=False)
    f.box(484, 372, 250, 70, "Lambda + API Gateway\nno instances to see,\nbilled by call", "compute")
    f.arrow((484, 250), (420, 310), text="ENI", dashed=True)
    f.arrow((60, 156), (60, 102))
    f.label(146, 131, "gateway endpoint")
    f.arrow((718, 189), (743, 189), (743, 114), (140, 114), (140, 102))
    return f


if __name__ == "__main__":
    draw().save()
