# SPDX-License-Identifier: BSD-2-Clause
"""Every check of section 9: the status, and that nothing but the answer header is written."""

from __future__ import annotations

import pytest

from .decode import read_answer_header
from .oracle import run_job
from .oracle_format import ANSWER_MAGIC, HEADER_BYTES, JOB_FIELDS, Status
from .oracle_memory import read_words
from .violations import OLDER, VIOLATIONS, Violation

UNANSWERED = VIOLATIONS[: [violation.name for violation in VIOLATIONS].index("digest_low")]  # checks 1 to 3


@pytest.mark.parametrize("violation", VIOLATIONS + OLDER, ids=lambda violation: violation.name)
def test_violation(violation: Violation) -> None:
    """The expected status; and the answer header alone is written, or nothing at all."""
    image = violation.build()
    before = bytearray(image.memory)
    assert run_job(image.memory, image.descriptor_address, image.config) == violation.status
    if violation in UNANSWERED or violation.status is Status.BAD_VERSION:
        assert image.memory == before
        return
    address = read_words(before, image.descriptor_address + 4 * JOB_FIELDS["answer_address"][0], 1, 4)[0]
    header = read_answer_header(image.memory, address)
    assert (header["magic"], header["abi_major"], header["abi_minor"]) == (
        ANSWER_MAGIC,
        1,
        image.config.abi_minor,
    )
    assert (header["status"], header["job_id"]) == (violation.status, 7)
    assert header["config_digest_hi"] << 32 | header["config_digest_lo"] == image.config.digest
    assert sum(image.memory[address + 24 : address + HEADER_BYTES]) == 0
    before[address : address + HEADER_BYTES] = image.memory[address : address + HEADER_BYTES]
    assert image.memory == before


def test_every_refusal_is_tried() -> None:
    """All statuses that the checks of section 9 can give."""
    tried = {violation.status for violation in VIOLATIONS}
    assert tried == {status for status in Status if Status.BAD_ADDRESS <= status <= Status.EMPTY_ROW}
