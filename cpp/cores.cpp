#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace coolnn {
namespace {

// Cores for `quota` microseconds of processor time in each `period`: 0 where that is no limit.
int cores_of(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;  // -1 and "max" mean no limit
  return std::max(1, int(std::min(quota / period, double(MAX_THREADS))));
}

// Version 2: one file with both numbers, or "max" for the first.
int limit_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period ? cores_of(quota, period) : 0;
}

// Version 1: a file for each.
int limit_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  return quota_file >> quota && period_file >> period ? cores_of(quota, period) : 0;
}

int smaller(int a, int b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// The smallest limit of a group and all groups around it. Inside a container only its own group may be visible, at
// `mount` itself, while its path is still the one that the host knows: groups that are not there limit nothing.
int smallest_limit(const std::string& mount, std::string path, int (*limit)(const std::string&)) {
  int found = limit(mount);
  while (path.size() > 1) {
    found = smaller(found, limit(mount + path));
    path.erase(path.rfind('/'));
  }
  return found;
}

}  // namespace

int container_cores(const std::string& root) {
  const std::string mount = root + "/sys/fs/cgroup";
  int found = 0;
  std::ifstream groups(root + "/proc/self/cgroup");  // lines "hierarchy:controllers:path"
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos || line[second + 1] != '/') continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) {
      found = smaller(found, smallest_limit(mount, path, limit_v2));
      continue;
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');)
      if (name == "cpu")
        for (const std::string& folder : {controllers, name})  // one is usually a link to the other
          found = smaller(found, smallest_limit(mount + "/" + folder, path, limit_v1));
  }
  return found;
}

int usable_cores() {
  int n = int(std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
  const int limit = container_cores();
  if (limit > 0) n = std::min(n, limit);
  return std::min(std::max(n, 1), MAX_THREADS);
}

}  // namespace coolnn
