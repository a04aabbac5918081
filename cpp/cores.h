// How many processor cores this process may use.
#pragma once
#include <string>

namespace coolnn {

constexpr int MAX_THREADS = 1024;

// Processor time that control groups (containers, systemd's CPUQuota) leave to this process, in whole cores and at
// least 1; 0 if it is not limited. `root` stands before the paths of files, for tests.
int container_cores(const std::string& root = "");

// The cores that this process may run on, as far as the container lets it; at most MAX_THREADS.
int usable_cores();

}  // namespace coolnn
