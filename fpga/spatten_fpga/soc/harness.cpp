// SPDX-License-Identifier: BSD-2-Clause
// The simulated system as a library: a host on its bus, cells behind its DRAM controller, and time.
// @TOP@, @WORD_BYTES@ and @READ_LATENCY@ are filled in for each system.
#include "V@TOP@.h"
#include "verilated.h"
#include <cstdint>
#include <cstdlib>
#include <cstring>

double sc_time_stamp() { return 0; }

namespace {

using Top = V@TOP@;
constexpr unsigned WORD = @WORD_BYTES@;        // bytes that the controller moves at a time
constexpr unsigned LATENCY = @READ_LATENCY@;   // cycles from a read command to its data
constexpr uint32_t PATIENCE = 100000;          // cycles for an answer; the system gives up long before
enum { OK, BUS_ERROR, NO_ANSWER, NOT_YET };

// Ports of any width lie in memory with their lowest byte first.
template <class T> void get(const T &port, void *to, unsigned bytes) { std::memcpy(to, &port, bytes); }
template <class T> void set(T &port, const void *from, unsigned bytes) { std::memcpy(&port, from, bytes); }

struct Soc {
    VerilatedContext context;
    Top *top;
    uint8_t *cells;
    uint64_t words, cycle;
    uint8_t coming[LATENCY][WORD];  // data of read commands, by the cycle in which it is due
    bool due[LATENCY];

    void chips() {
        unsigned slot = cycle % LATENCY;  // what was put here LATENCY cycles ago has gone out in this cycle
        due[slot] = top->cells_read;
        if (top->cells_read) std::memcpy(coming[slot], cells + top->cells_read_address % words * WORD, WORD);
        if (!top->cells_write) return;
        uint8_t data[WORD], *cell = cells + top->cells_write_address % words * WORD;
        uint64_t bytes = top->cells_write_bytes;
        get(top->cells_write_data, data, WORD);
        for (unsigned i = 0; i < WORD; i++)
            if (bytes >> i & 1) cell[i] = data[i];
    }

    // Lets what the host set reach the outputs; they may be read until `rise`.
    void settle() {
        unsigned slot = cycle % LATENCY;
        if (due[slot]) set(top->cells_read_data, coming[slot], WORD);
        top->sys_clk = 0;
        top->eval();
    }
    void rise() {
        chips();
        top->sys_clk = 1;
        top->eval();
        cycle++;
    }
    void tick() { settle(); rise(); }

    // One word of a block, a classic Wishbone cycle.
    int access(uint32_t address, uint32_t *data, bool write, bool more) {
        top->host_adr = address >> 2;
        top->host_we = write;
        top->host_cyc = top->host_stb = 1;
        if (write) top->host_dat_w = *data;
        int outcome = NO_ANSWER;
        for (uint32_t i = 0; i < PATIENCE && outcome == NO_ANSWER; i++) {
            settle();
            if (top->host_err) outcome = BUS_ERROR;
            else if (top->host_ack) outcome = OK;
            if (outcome == OK && !write) *data = top->host_dat_r;
            rise();
        }
        top->host_stb = 0;
        top->host_cyc = more && outcome == OK;
        return outcome;
    }
    int block(uint32_t address, uint32_t *data, uint64_t count, bool write) {
        for (uint64_t i = 0; i < count; i++)
            if (int failure = access(address + 4 * i, data + i, write, i + 1 < count)) return failure;
        return OK;
    }

    template <class Done> int wait(uint32_t address, uint64_t cycles, uint32_t every, Done done) {
        uint64_t end = cycle + cycles;
        for (;;) {
            uint32_t value;
            if (int failure = access(address, &value, false, false)) return failure;
            if (done(value)) return OK;
            if (cycle >= end) return NOT_YET;
            for (uint32_t i = 0; i < every; i++) tick();
        }
    }
};

}  // namespace

extern "C" {

// A system after power-on with so many bytes of cells, all zero; null if there is no room for them.
Soc *soc_new(uint64_t bytes) {
    void *cells = std::calloc(bytes, 1);  // the host's memory is taken as it is touched
    if (!cells) return nullptr;
    Soc *soc = new Soc;
    soc->top = new Top(&soc->context, "top");
    soc->cells = static_cast<uint8_t *>(cells);
    soc->words = bytes / WORD;
    soc->cycle = 0;
    std::memset(soc->due, 0, sizeof soc->due);
    soc->top->host_sel = 15;
    soc->top->sys_rst = 1;
    for (int i = 0; i < 4; i++) soc->tick();
    soc->top->sys_rst = 0;
    return soc;
}
void soc_free(Soc *soc) {
    soc->top->final();
    delete soc->top;
    std::free(soc->cells);
    delete soc;
}
void soc_run(Soc *soc, uint64_t cycles) { while (cycles--) soc->tick(); }
int soc_read(Soc *soc, uint32_t address, uint32_t *data, uint64_t count) { return soc->block(address, data, count, false); }
int soc_write(Soc *soc, uint32_t address, uint32_t *data, uint64_t count) { return soc->block(address, data, count, true); }
// Until the register's value masked is `value`, or has counted to `count` modulo 2^32.
int soc_wait_equal(Soc *soc, uint32_t address, uint32_t mask, uint32_t value, uint64_t cycles, uint32_t every) {
    return soc->wait(address, cycles, every, [=](uint32_t found) { return (found & mask) == value; });
}
int soc_wait_count(Soc *soc, uint32_t address, uint32_t count, uint64_t cycles, uint32_t every) {
    return soc->wait(address, cycles, every, [=](uint32_t found) { return static_cast<int32_t>(found - count) >= 0; });
}
uint8_t *soc_memory(Soc *soc) { return soc->cells; }
uint64_t soc_cycles(Soc *soc) { return soc->cycle; }
int soc_irq(Soc *soc) { return soc->top->irq; }

}  // extern "C"
