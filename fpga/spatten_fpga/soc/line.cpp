// SPDX-License-Identifier: BSD-2-Clause
// Behind harness.cpp for a system with a link: a line that carries whole packets to it and from it.
#include <algorithm>
#include <deque>
#include <vector>

namespace {

struct Packet {
    std::vector<uint32_t> words;
    uint64_t peer = 0;     // IPv4 address and port of who is at the other end
    bool damaged = false;  // as the network says of a datagram that is no whole number of words
};

struct Line {
    Soc *soc;
    std::deque<Packet> requests, answers;
    size_t place = 0;  // in the first request, of the word that is on the pins
    Packet coming;     // the answer so far

    void offer() {
        const Packet &request = requests.front();
        bool last = place + 1 == request.words.size();
        soc->top->request_data = request.words[place];
        soc->top->request_peer = request.peer;
        soc->top->request_last = last;
        soc->top->request_damaged = last && request.damaged;
    }
    void take() {
        coming.words.push_back(soc->top->answer_data);
        coming.peer = soc->top->answer_peer;
        if (!soc->top->answer_last) return;
        answers.push_back(coming);
        coming = Packet();
    }
    void tick() {
        bool offered = !requests.empty();
        soc->top->request_valid = offered;
        soc->top->answer_ready = 1;
        if (offered) offer();
        soc->settle();
        bool moved = offered && soc->top->request_ready;
        if (soc->top->answer_valid) take();
        soc->rise();
        if (moved && ++place == requests.front().words.size()) {
            requests.pop_front();
            place = 0;
        }
    }
    // Until an answer is whole. Between calls the line stands still: time may pass on the host's pins.
    bool run(uint64_t cycles) {
        while (cycles-- && answers.empty()) tick();
        soc->top->request_valid = soc->top->answer_ready = 0;
        return !answers.empty();
    }
};

}  // namespace

extern "C" {

Line *line_new(Soc *soc) { return new Line{soc}; }
void line_free(Line *line) { delete line; }
void line_push(Line *line, const uint32_t *words, uint32_t count, uint64_t peer, int damaged) {
    if (!count) return;
    line->requests.emplace_back();
    Packet &request = line->requests.back();
    request.words.assign(words, words + count);
    request.peer = peer;
    request.damaged = damaged;
}
// Whether an answer is there, within so many cycles.
int line_run(Line *line, uint64_t cycles) { return line->run(cycles); }
// Words of the oldest answer, 0 if there is none; at most `room` of them are copied.
uint32_t line_pop(Line *line, uint32_t *words, uint32_t room, uint64_t *peer) {
    if (line->answers.empty()) return 0;
    const Packet answer = line->answers.front();
    line->answers.pop_front();
    std::copy_n(answer.words.begin(), std::min<size_t>(room, answer.words.size()), words);
    *peer = answer.peer;
    return answer.words.size();
}

}  // extern "C"
