# SPDX-License-Identifier: BSD-2-Clause
"""Options and profiles of the whole suite.

`--device URI` names the device that the tests run on: the emulator by default, later a simulator or a board.
`SPATTEN_HYPOTHESIS_EXAMPLES` is the number of examples a property: 300 by default, 5,000 in `make test-deep`.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test needs a hub; asking for one costs its time-out

settings.register_profile(
    "ci",
    max_examples=int(os.environ.get("SPATTEN_HYPOTHESIS_EXAMPLES", "300")),
    deadline=None,  # the first call of a numba kernel compiles for seconds
    derandomize="CI" in os.environ,  # a pull request fails for its own change, not for a lucky draw
    suppress_health_check=[HealthCheck.too_slow],  # arrays are slow to draw on a loaded machine
)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--device`."""
    parser.addoption(
        "--device", default="emulator", metavar="URI", help="device to test: emulator, auto or a uri"
    )


@pytest.fixture(scope="session")
def device_uri(request: pytest.FixtureRequest) -> str:
    """Return the device that the tests open, as `spatten_drivers.open_device` takes it."""
    return str(request.config.getoption("--device"))
