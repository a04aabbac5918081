// Which neighbours a convolution looks at, seen from its output and, for the input gradient, from its input.
#pragma once
#include <algorithm>

#include "conv.h"

namespace coolnn {

struct Tap {
  int64_t dy, dx;  // from the patch's corner, in pixels
  int64_t index;   // of the weight: ky * kw + kx
};

inline std::vector<Tap> output_taps(const ConvShape& s) {
  std::vector<Tap> taps;
  for (int64_t ky = 0; ky < s.kh; ky++)
    for (int64_t kx = 0; kx < s.kw; kx++) taps.push_back({ky * s.dh - s.pt, kx * s.dw - s.pl, ky * s.kw + kx});
  return taps;
}

// The input pixels (y, x) with y % stride == py and x % stride == px, a grid of their own, and the taps that reach them,
// as neighbours in the output gradient. On such a grid the input gradient is a convolution without stride.
struct InputPhase {
  int64_t py, px, grid_h, grid_w;
  std::vector<Tap> taps;
};

inline std::vector<InputPhase> input_phases(const ConvShape& s) {
  std::vector<InputPhase> phases;
  for (int64_t py = 0; py < std::min(s.sh, s.ih); py++)
    for (int64_t px = 0; px < std::min(s.sw, s.iw); px++) {
      InputPhase phase = {py, px, (s.ih - py + s.sh - 1) / s.sh, (s.iw - px + s.sw - 1) / s.sw, {}};
      for (int64_t ky = 0; ky < s.kh; ky++)
        for (int64_t kx = s.kw - 1; kx >= 0; kx--) {  // backwards: then the pixels of the gradient come in order
          const int64_t y = py + s.pt - ky * s.dh, x = px + s.pl - kx * s.dw;
          if (y % s.sh == 0 && x % s.sw == 0) phase.taps.push_back({y / s.sh, x / s.sw, ky * s.kw + kx});
        }
      phases.push_back(std::move(phase));
    }
  return phases;
}

}  // namespace coolnn
