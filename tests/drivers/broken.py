# SPDX-License-Identifier: BSD-2-Clause
"""Jobs that were broken between driver and device, for every device that is compared with the emulator."""

from __future__ import annotations

from spatten_drivers import Status

#: By what is wrong: field of the header, what it is made, how the job ends. Right for no device of the tests.
BROKEN = {
    "magic": ("magic", 1, Status.BAD_MAGIC),
    "version": ("abi_major", 2, Status.BAD_VERSION),
    "answer outside": ("answer_address", 1 << 30, Status.BAD_ADDRESS),
    "digest": ("config_digest_lo", 1, Status.BAD_DIGEST),
    "too many heads": ("n_heads", 17, Status.BAD_FIELD),
    "keep too many": ("keep_tokens", 99, Status.BAD_FIELD),
    "output outside": ("output_address", 1 << 30, Status.BAD_ADDRESS),
}
