"""What a Deployment, a Service and an autoscaler do for one request."""

from __future__ import annotations

from style import Figure


def draw() -> Figure:
    """Control plane above, two nodes with pods below."""
    f = Figure(
        "kubernetes_in_a_page", 760, 420,
        "Kubernetes in one picture",
        "The control plane holds an API server, its store, the scheduler and controllers. You send it a Deployment "
        "with three replicas. Kubelets on two nodes run the pods. A Service spreads requests over the ready pods. "
        "The horizontal pod autoscaler reads metrics and changes the replica count in the Deployment.",
    )  # fmt: skip
    f.box(16, 52, 120, 70, "you\nkubectl apply", "people")
    f.group(176, 22, 568, 130, "control plane (managed: EKS, AKS, GKE)")
    f.box(196, 52, 116, 70, "API server\n+ etcd: desired\nstate", "model")
    f.box(336, 52, 116, 70, "scheduler\npod to node", "model")
    f.box(476, 52, 116, 70, "controllers\nDeployment,\nReplicaSet", "model")
    f.box(616, 52, 110, 70, "autoscaler\nHPA: replicas", "model")
    f.arrow((136, 87), (196, 87))
    f.group(176, 202, 270, 124, "node 1: kubelet")
    f.group(474, 202, 270, 124, "node 2: kubelet")
    f.box(196, 232, 108, 66, "pod\nmodel server", "compute")
    f.box(318, 232, 108, 66, "pod\nmodel server", "compute")
    f.box(494, 232, 108, 66, "pod\nmodel server", "compute")
    f.box(616, 232, 108, 66, "pod\nnot ready", "bad")
    f.arrow((254, 122), (254, 177), (400, 177), (400, 202), text="pods to run")
    f.arrow((400, 177), (640, 177), (640, 202))
    f.arrow((706, 202), (706, 122), text="metrics", dashed=True)
    f.box(16, 350, 120, 56, "clients\nHTTP", "people")
    f.box(196, 350, 406, 56, "Service: one name and address\nsends each request to a ready pod", "network")
    f.arrow((136, 378), (196, 378))
    f.arrow((250, 350), (250, 298))
    f.arrow((372, 350), (372, 298))
    f.arrow((548, 350), (548, 298))
    return f


if __name__ == "__main__":
    draw().save()
