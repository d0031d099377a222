// SPDX-License-Identifier: BSD-2-Clause
// A board's system behind its serial line: bytes in, bytes out, one bit for so many cycles of its clock.
#include "Vspatten.h"
#include "verilated.h"
#include <cstdint>
#include <deque>

double sc_time_stamp() { return 0; }

namespace {

struct Receiver {  // of what the board sends: waits for a start bit, then looks at the middle of each bit
    uint64_t wait = 0;
    int bit = -1;
    uint8_t byte = 0;
    std::deque<uint8_t> bytes;

    void tick(bool line, uint64_t width) {
        if (bit < 0) {
            if (line) return;
            bit = 0;
            wait = width + width / 2;
            return;
        }
        if (--wait) return;
        wait = width;
        if (bit < 8) byte = static_cast<uint8_t>(byte >> 1 | line << 7);
        if (bit++ < 8) return;
        bytes.push_back(byte);
        bit = -1;
    }
};

struct Sender {  // to the board
    uint64_t wait = 0;
    uint32_t frame = 0;  // bits that are left of a byte, a one on top; 0: none
    std::deque<uint8_t> bytes;

    bool idle() const { return !frame && bytes.empty(); }
    bool tick(uint64_t width) {
        if (!frame && !bytes.empty()) {
            frame = 1u << 10 | 1u << 9 | bytes.front() << 1;  // stop bit, byte, start bit
            bytes.pop_front();
            wait = width;
        }
        if (!frame) return true;
        bool line = frame & 1;
        if (!--wait) {
            wait = width;
            frame >>= 1;
            if (frame == 1) frame = 0;
        }
        return line;
    }
};

struct Board {
    VerilatedContext context;
    Vspatten top{&context};
    Sender sender;
    Receiver receiver;
    uint64_t width;

    explicit Board(uint64_t cycles) : width(cycles) {
        @INPUTS@
        top.serial_rx = 1;
    }
    void tick() {
        top.serial_rx = sender.tick(width);
        top.@CLOCK@ = 0;
        top.eval();
        top.@CLOCK@ = 1;
        top.eval();
        receiver.tick(top.serial_tx, width);
    }
};

}  // namespace

extern "C" {

Board *board_new(uint64_t cycles_a_bit) { return new Board(cycles_a_bit); }
void board_free(Board *board) { delete board; }
// Send all of `out`, then wait for `count` bytes, at most so many cycles; how many came.
int board_run(Board *board, const uint8_t *out, int length, uint8_t *in, int count, uint64_t cycles) {
    board->sender.bytes.insert(board->sender.bytes.end(), out, out + length);
    auto &came = board->receiver.bytes;
    while (cycles-- && (!board->sender.idle() || static_cast<int>(came.size()) < count)) board->tick();
    int place = 0;
    for (; place < count && !came.empty(); place++) {
        in[place] = came.front();
        came.pop_front();
    }
    return place;
}

}  // extern "C"
