# SPDX-License-Identifier: BSD-2-Clause
"""``python3 -m spatten_drivers.devices.simulated_board``: a board at a UDP port that is a simulation.

Its RTL is that of the boards from the link SpL on: packets reach the gateware's own end of the link as a
network would bring them. A program opens it as it opens a board, by the uri that is printed.
"""

from __future__ import annotations

import argparse
import random
import select
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from ..errors import DeviceError, SpattenError
from ..link.faults import FaultRates, FaultyPath
from ..link.format import UDP_PORT
from .simulated_line import Datagram, SimulatedLine
from .uri import memory_option
from .verilator import PRESETS, Verilator, built_folder

SLICE_CYCLES = 500  # between two looks at the socket
QUIET_CYCLES = 10_000  # without an answer, after which no request can be under way any more
IDLE_SECONDS = 0.2  # between two looks at whether to stop
_ROUND = 64  # datagrams that are taken before time passes again
_DATAGRAM_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20


class SimulatedBoard:
    """A simulated system at the end of a UDP socket; clocked while there is traffic or a job runs.

    Parameters
    ----------
    folder : of a simulator with a link.
    host, port : IPv4 address and port to listen at; port 0 takes a free one.
    faults, seed : of the network between, in both directions.

    Attributes
    ----------
    uri : by which a program opens it.
    faults : how many there were, by kind.
    """

    def __init__(
        self,
        folder: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: FaultRates | None = None,
        seed: int = 0,
    ) -> None:
        rates, self.faults = faults or FaultRates(), Counter[str]()
        self._inward = FaultyPath(rates, random.Random(f"{seed} in"), self.faults)
        self._outward = FaultyPath(rates, random.Random(f"{seed} out"), self.faults)
        self._socket = _bound(host, port)
        self.uri = "litex:link://{}:{}?csr={}".format(
            *self._socket.getsockname(), quote(str(folder / "csr.json"))
        )
        self.device = Verilator(folder)  # makes memory ready, as software on a board would
        self._line = SimulatedLine(self.device.bus)
        self._quiet = QUIET_CYCLES  # cycles without an answer or a request

    def serve_once(self, wait: float = IDLE_SECONDS) -> None:
        """Carry what has come and let a little time pass; if there is nothing to do, wait for a datagram."""
        active = self._quiet < QUIET_CYCLES or not self.device.read_fields("STATUS")["IDLE"]
        for datagram in self._arrived(0.0 if active else wait):
            for data in self._inward.carry(datagram.data):
                self._line.push(Datagram(data, datagram.peer))
            self._quiet, active = 0, True
        if active:
            self._quiet += SLICE_CYCLES
            while self._line.run(SLICE_CYCLES):
                self._answer()
                self._quiet = 0

    def close(self) -> None:
        """Switch the board off."""
        self._line.close()
        self.device.close()
        self._socket.close()

    def _answer(self) -> None:
        while (answer := self._line.pop()) is not None:
            place = (socket.inet_ntoa((answer.peer >> 16).to_bytes(4, "big")), answer.peer & 0xFFFF)
            for data in self._outward.carry(answer.data):
                self._socket.sendto(data, place)

    def _arrived(self, wait: float) -> Iterator[Datagram]:
        for _ in range(_ROUND):
            if not select.select([self._socket], [], [], wait)[0]:
                return
            data, (host, port) = self._socket.recvfrom(_DATAGRAM_BYTES)
            yield Datagram(data, int.from_bytes(socket.inet_aton(host), "big") << 16 | port)
            wait = 0.0


def _bound(host: str, port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        udp.bind((host, port))
    except (OSError, OverflowError) as error:
        udp.close()
        raise DeviceError(
            f"simulated board: cannot listen at UDP {host}:{port} ({error}); expected an IPv4 address of "
            "this machine and a port that is free. Give --port 0 for any"
        ) from error
    return udp


def _chance(text: str) -> float:
    if not 0.0 <= (value := float(text)) < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is no chance; expected 0 to less than 1, such as 0.03")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve what the command line asks for until Ctrl-C; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m spatten_drivers.devices.simulated_board",
        description="Serve the simulated system over the link SpL; prints the uri to open it by.",
        epilog="exit codes: 0 ended by Ctrl-C, 2 it cannot be opened",
    )
    parser.add_argument("--host", default="127.0.0.1", help="IPv4 address to listen at (%(default)s)")
    parser.add_argument("--port", type=int, default=UDP_PORT, help="UDP port, 0 for any (%(default)s)")
    parser.add_argument("--preset", default="small", choices=PRESETS, help="what to simulate (%(default)s)")
    parser.add_argument("--memory", default="", help="that jobs may reach, such as 64MiB (the chips')")
    parser.add_argument(
        "--faults", type=_chance, default=0.0, metavar="P", help="chance of each fault a packet"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the faults (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        memory = memory_option(given.memory) if given.memory else None
        folder = built_folder(given.preset, memory, link=True)
        board = SimulatedBoard(folder, given.host, given.port, FaultRates.all(given.faults), given.seed)
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{board.uri}\n")
    sys.stdout.flush()
    try:
        while True:
            board.serve_once()
    except KeyboardInterrupt:
        return 0
    finally:
        board.close()


if __name__ == "__main__":
    sys.exit(main())
