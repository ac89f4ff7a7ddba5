"""SageMaker's errors, with the codes and sentences of the real service."""

from __future__ import annotations


class SageMakerError(Exception):
    """An answer other than 200: the vendor's error code, sentence and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def validation(message: str) -> SageMakerError:
    """The request is well formed but cannot be accepted."""
    return SageMakerError("ValidationException", message)


def not_found(message: str = "Requested resource not found.") -> SageMakerError:
    """SageMaker says ValidationException where other services say not found."""
    return SageMakerError("ValidationException", message)


def in_use(message: str) -> SageMakerError:
    """The name is taken, or the resource is busy."""
    return SageMakerError("ResourceInUse", message)


def not_implemented(what: str) -> SageMakerError:
    """Known to the real service, not part of the local cloud. 501 is not retried by the SDKs."""
    message = f"NotImplemented: {what} is not part of the local cloud. Implemented: lab coverage"
    return SageMakerError("NotImplemented", message, 501)


def unknown_operation(target: str) -> SageMakerError:
    """Not an operation of SageMaker at all."""
    return SageMakerError("UnknownOperationException", f"{target or 'No X-Amz-Target'} is not a SageMaker operation.")


def internal(cause: str, action: str) -> SageMakerError:
    """The local cloud could not do its part: cause and next action, in the shape of a vendor's 5xx."""
    return SageMakerError("InternalFailure", f"{cause} {action}", 500)


def unavailable(cause: str, action: str) -> SageMakerError:
    """A part of the local cloud is missing for the moment; SDKs retry this."""
    return SageMakerError("ServiceUnavailable", f"{cause} {action}", 503)
