# SPDX-License-Identifier: BSD-2-Clause
"""Typed errors. Every message says what was given, what was expected and what to do."""


class SpattenError(Exception):
    """Base of all errors raised by this project."""


class ConfigError(SpattenError, ValueError):
    """A field of an :class:`~spatten_drivers.AcceleratorConfig` is out of its legal range."""


class OperandError(SpattenError, ValueError):
    """Wrong shape, dtype, range or non-finite numbers in Q, K, V or a job's fields."""


class BitstreamError(SpattenError, ValueError):
    """The folder of a bitstream is damaged, incomplete, or not what its manifest says."""


class JobError(SpattenError, RuntimeError):
    """A device ended a job with an error status (``docs/contract.md``, section 9)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class DeviceError(SpattenError, RuntimeError):
    """A device cannot be opened, or does not answer as the contract says."""


class UriError(DeviceError):
    """A uri names no device, or lacks what its kind needs: no waiting mends it."""


class DeviceMismatchError(DeviceError):
    """The device's configuration digest or ABI is not one this driver knows."""


class LoadError(DeviceError):
    """A bitstream cannot be loaded into a board, or the board does not answer after it."""


class DeviceTimeoutError(DeviceError, TimeoutError):
    """A wait passed its deadline; the message carries the state of the device."""


class DeviceMemoryError(DeviceError, MemoryError):
    """Device memory is exhausted, or an address lies outside it."""


class RecordingError(SpattenError, ValueError):
    """A recording cannot be written or read, or does not fit the device it is to be played on."""


class DeviceDifferenceError(DeviceError):
    """A device answered a job with other bits than the software model."""


class LinkError(DeviceError):
    """The link to a board does not carry what was sent over it, or the device refused a request.

    Attributes
    ----------
    tries : how often the request was sent.
    status : of the device's answer, ``None`` if there was none.
    address : that the answer names.
    """

    def __init__(
        self, message: str, tries: int = 1, status: int | None = None, address: int | None = None
    ) -> None:
        super().__init__(message)
        self.tries = tries
        self.status = status
        self.address = address


class LinkTimeoutError(LinkError, DeviceTimeoutError):
    """No valid answer came over the link, however often it was asked."""


class UnconfirmedWriteError(LinkTimeoutError):
    """Nothing says whether a register took a write: it must not be sent again without looking."""


class LinkDamageError(LinkError):
    """A write may have reached the device damaged: what its memory holds is not known any more."""


class DeviceBusyError(DeviceError):
    """Another process drives this board."""


class DramError(DeviceError):
    """Device memory cannot be made ready; the message carries what was found."""
