"""Makes what MiniStack has acknowledged survive `kill -9`."""


def install() -> None:
    """(Being written.)"""
