// SPDX-License-Identifier: BSD-2-Clause
// A board's system behind its RGMII pins: frames in, frames out, a byte in each cycle of its clock.
#include "Vspatten.h"
#include "verilated.h"
#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

double sc_time_stamp() { return 0; }

namespace {

constexpr int IDLE = -1;
constexpr int GAP = 12;         // bytes between frames
constexpr uint8_t STATUS = 13;  // of an idle line: link up, 125 MHz, full duplex

struct Board {
    VerilatedContext context;
    Vspatten top{&context};
    std::deque<int> line;  // to the board: bytes, IDLE between frames
    std::vector<uint8_t> frame;  // that is coming
    std::deque<std::vector<uint8_t>> frames;
    uint64_t cycles = 0;

    Board() {
        @INPUTS@
    }
    // The low half of a byte lies around the rising edge of the PHY's clock, the high one around the falling.
    // That clock is the inverse of the system's, so that no edges of both coincide.
    void tick() {
        int byte = line.empty() ? IDLE : line.front();
        if (!line.empty()) line.pop_front();
        uint8_t sent = byte == IDLE ? STATUS | STATUS << 4 : byte;
        top.eth_rx_ctl = byte != IDLE;
        top.eth_rx_data = sent & 15;
        top.@CLOCK@ = 0;
        top.eth_clocks_rx = 1;
        top.eval();
        bool valid = top.eth_tx_ctl;
        uint8_t low = top.eth_tx_data;
        top.eth_rx_data = sent >> 4;
        top.@CLOCK@ = 1;
        top.eth_clocks_rx = 0;
        top.eval();
        if (valid) frame.push_back(low | top.eth_tx_data << 4);
        if (!valid && !frame.empty()) {
            frames.push_back(frame);
            frame.clear();
        }
        cycles++;
    }
};

}  // namespace

extern "C" {

Board *board_new() { return new Board; }
void board_free(Board *board) { delete board; }
uint64_t board_cycles(Board *board) { return board->cycles; }
// Send a frame, then wait for one, at most so many cycles; how many bytes it has, of which `room` are taken.
int board_run(Board *board, const uint8_t *out, int length, uint8_t *in, int room, uint64_t cycles) {
    board->line.insert(board->line.end(), out, out + length);
    if (length) board->line.insert(board->line.end(), GAP, IDLE);
    while (!board->line.empty()) board->tick();
    while (cycles-- && board->frames.empty()) board->tick();
    if (board->frames.empty()) return 0;
    auto came = board->frames.front();
    board->frames.pop_front();
    std::copy_n(came.begin(), std::min<size_t>(came.size(), room), in);
    return static_cast<int>(came.size());
}

}  // extern "C"
