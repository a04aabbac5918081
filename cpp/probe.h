// Measures what the machine can do at most, on as many threads as are set.
#pragma once

namespace coolnn {

double measure_fma_peak(double seconds);  // floating-point operations a second, of the instruction set in use
double measure_fork_join();               // seconds to hand out work and wait for it

}  // namespace coolnn
