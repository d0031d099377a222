// SPDX-License-Identifier: BSD-2-Clause
// Streams with random gaps around a verilated module; the accessors of its ports are generated for each module.
#include "V@TOP@.h"
#include "verilated.h"
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

double sc_time_stamp() { return 0; }

namespace {

template <class T> void store(T &port, const uint64_t *from) { port = static_cast<T>(from[0]); }
template <std::size_t N> void store(VlWide<N> &port, const uint64_t *from) {
    for (std::size_t i = 0; i < N; i++) port[i] = static_cast<EData>(from[i / 2] >> (32 * (i % 2)));
}
template <class T> void load(const T &port, uint64_t *to) { to[0] = port; }
template <std::size_t N> void load(const VlWide<N> &port, uint64_t *to) {
    for (std::size_t i = 0; i < (N + 1) / 2; i++) to[i] = 0;
    for (std::size_t i = 0; i < N; i++) to[i / 2] |= static_cast<uint64_t>(port[i]) << (32 * (i % 2));
}

using Top = V@TOP@;
@PORTS@

struct Random {  // xorshift64*: the same numbers everywhere
    uint64_t state;
    uint32_t next() {
        state ^= state >> 12; state ^= state << 25; state ^= state >> 27;
        return static_cast<uint32_t>((state * 0x2545F4914F6CDD1DULL) >> 32);
    }
    bool chance(uint32_t share) { return next() <= share; }
};

}  // namespace

extern "C" {

// One stream of a run. A sink's tokens are given, a source's tokens are recorded.
struct Stream {
    uint64_t *tokens;   // count x words
    int64_t *cycles;    // cycle of each handshake
    int64_t count;      // tokens to offer, or to wait for
    int64_t done;       // handshakes so far
    int64_t room;       // tokens that fit, for a source
    uint32_t share;     // chance of being offered or taken each cycle, of 2^32 - 1
    uint32_t held;      // a sink's token is on offer; a source's token was refused last cycle
};

// Device memory behind three of the streams: reads in order after `latency` cycles, a beat a cycle.
struct Memory {
    uint8_t *bytes;
    uint64_t beats;
    int32_t command, data, write;  // numbers of the streams; data is a sink of the module, the others sources
    int32_t beat_bytes, latency;
    int64_t reads, writes, faults; // beats so far; accesses outside, which read as ones and write nothing
};

struct Sim { VerilatedContext context; Top *top; int64_t cycle; std::deque<std::pair<int64_t, uint64_t>> reads; };

Sim *sim_new(uint32_t seed, int randomise) {
    Sim *sim = new Sim;
    sim->context.randReset(randomise);
    sim->context.randSeed(static_cast<int>(seed));
    sim->top = new Top(&sim->context, "top");
    sim->cycle = 0;
    return sim;
}
void sim_free(Sim *sim) { sim->top->final(); delete sim->top; delete sim; }
void sim_set(Sim *sim, int signal, const uint64_t *value) { set_signal(*sim->top, signal, value); }
void sim_get(Sim *sim, int signal, uint64_t *value) { sim->top->eval(); get_signal(*sim->top, signal, value); }
int64_t sim_cycle(Sim *sim) { return sim->cycle; }

static void tick(Sim *sim) {
    sim->top->sys_clk = 1; sim->top->eval();
    sim->top->sys_clk = 0; sim->top->eval();
    sim->cycle++;
}

void sim_reset(Sim *sim, int cycles) {
    static const uint64_t zero[MAX_WORDS] = {0};
    for (int s = 0; s < STREAMS; s++) {
        if (IS_SINK[s]) { set_valid(*sim->top, s, 0); set_token(*sim->top, s, zero); } else set_ready(*sim->top, s, 0);
    }
    sim->top->sys_clk = 0; sim->top->sys_rst = 1; sim->top->eval();
    for (int i = 0; i < cycles; i++) tick(sim);
    sim->top->sys_rst = 0; sim->top->eval();
    sim->cycle = 0;
    sim->reads.clear();
}

void sim_tick(Sim *sim, int64_t cycles) { for (int64_t i = 0; i < cycles; i++) tick(sim); }

// Runs until every stream has its count, or `limit` cycles are over.
// 0: done. 1: out of cycles. 2 + stream: that source withdrew or changed a token that was not taken yet.
int sim_run(Sim *sim, Stream *streams, Memory *memory, int64_t limit, uint64_t seed, int64_t after) {
    Random random{seed * 2 + 0x9E3779B97F4A7C15ULL};
    Top &top = *sim->top;
    std::vector<std::vector<uint64_t>> refused(STREAMS, std::vector<uint64_t>(MAX_WORDS));
    std::vector<uint64_t> now(MAX_WORDS);
    for (int64_t end = sim->cycle + limit; sim->cycle < end;) {
        bool done = true;
        for (int s = 0; s < STREAMS; s++) done = done && streams[s].done >= streams[s].count;
        if (done && after-- <= 0) return 0;
        for (int s = 0; s < STREAMS; s++) {
            Stream &stream = streams[s];
            if (!IS_SINK[s]) { set_ready(top, s, random.chance(stream.share)); continue; }
            if (memory && s == memory->data) {
                if (!stream.held && !sim->reads.empty() && sim->reads.front().first <= sim->cycle &&
                    random.chance(stream.share)) {
                    uint64_t beat = sim->reads.front().second;
                    if (beat < memory->beats) std::memcpy(now.data(), memory->bytes + beat * memory->beat_bytes, memory->beat_bytes);
                    else { std::memset(now.data(), 255, memory->beat_bytes); memory->faults++; }
                    set_beat(top, now.data());
                    stream.held = 1;
                }
                set_valid(top, s, stream.held);
                continue;
            }
            if (!stream.held && stream.done < stream.count && random.chance(stream.share)) {
                set_token(top, s, stream.tokens + stream.done * WORDS[s]);
                stream.held = 1;
            }
            set_valid(top, s, stream.held);
        }
        top.eval();
        for (int s = 0; s < STREAMS; s++) {
            Stream &stream = streams[s];
            bool valid = IS_SINK[s] ? stream.held : get_valid(top, s);
            bool moved = valid && get_ready(top, s);
            if (!IS_SINK[s]) {
                get_token(top, s, now.data());
                bool same = valid && !std::memcmp(now.data(), refused[s].data(), 8 * WORDS[s]);
                if (stream.held && !same) return 2 + s;
                stream.held = valid && !moved;
                if (stream.held) refused[s] = now;
                if (memory && moved && s == memory->command) {
                    sim->reads.emplace_back(sim->cycle + memory->latency, get_command_address(top));
                    memory->reads++;
                }
                if (memory && moved && s == memory->write) {
                    uint64_t beat = get_write_address(top);
                    std::vector<uint64_t> data(MAX_WORDS);
                    get_write_data(top, data.data());
                    if (beat < memory->beats) std::memcpy(memory->bytes + beat * memory->beat_bytes, data.data(), memory->beat_bytes);
                    else memory->faults++;
                    memory->writes++;
                }
                if (moved && stream.done < stream.room)
                    std::memcpy(stream.tokens + stream.done * WORDS[s], now.data(), 8 * WORDS[s]);
            }
            if (moved) {
                if (stream.done < stream.room) stream.cycles[stream.done] = sim->cycle;
                stream.done++;
                if (IS_SINK[s]) stream.held = 0;
                // Not before: what a run leaves untaken is owed to the next.
                if (memory && s == memory->data) sim->reads.pop_front();
            }
        }
        tick(sim);
    }
    return 1;
}

}  // extern "C"
