
// SPDX-License-Identifier: BSD-2-Clause
// Appended to the harness of a module that counts its coverage.
#include "verilated_cov.h"

extern "C" void sim_coverage(Sim *sim, const char *path) { sim->context.coveragep()->write(path); }
