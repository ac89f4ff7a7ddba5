"""Who answers for which layer, by kind of service."""

from __future__ import annotations

from style import Figure

ROWS = (
    ("data, labels, model quality", "YYYY"),
    ("identities and permissions", "YYYY"),
    ("your code and its packages", "YYYY"),
    ("runtime and container image", "YYSV"),
    ("operating system", "YYVV"),
    ("scaling and placement", "YSSV"),
    ("hypervisor, hosts, network", "VVVV"),
    ("buildings, power, disks", "VVVV"),
)
COLUMNS = ("VM\nEC2", "Kubernetes\nEKS", "managed ML\nSageMaker AI", "function\nLambda")
CELLS = {"Y": ("you", "people"), "S": ("shared", "network"), "V": ("vendor", "compute")}


def draw() -> Figure:
    """A table of eight layers and four kinds of service."""
    f = Figure(
        "shared_responsibility", 760, 424,
        "Shared responsibility by kind of service",
        "A grid. Data, identities and your code are yours in all four columns. Runtime, operating system and scaling "
        "move from you to the vendor from virtual machine over Kubernetes and managed ML to function. Hosts and "
        "buildings are always the vendor's.",
    )  # fmt: skip
    for column, name in enumerate(COLUMNS):
        f.box(236 + 130 * column, 8, 122, 48, name, "paper")
    for row, (layer, owners) in enumerate(ROWS):
        top = 66 + 44 * row
        f.box(8, top, 220, 36, layer, "paper", bold=False)
        for column, owner in enumerate(owners):
            text, kind = CELLS[owner]
            f.box(236 + 130 * column, top, 122, 36, text, kind, bold=False)
    return f


if __name__ == "__main__":
    draw().save()
