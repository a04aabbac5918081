// Winograd's convolution as a choice for conv.cpp: when it applies, what it costs, which tile size is taken.
#include "winograd.h"

#include <cmath>

namespace coolnn {
namespace {

// Measured weights of the parts, in multiply-adds of a product at peak. Transforms are bound by loads and stores.
constexpr double PRODUCT = 1.1;          // per multiply-add of the products
constexpr double TILE_TRANSFORM = 15;    // per channel and point of a tile
constexpr double WEIGHT_TRANSFORM = 20;  // per pair of channels and point
constexpr double WEIGHT_READ = 13;       // per constant weight and point, while products go on
constexpr double START = 200e3;          // for starting the threads a few times

bool accepts(const ConvShape& s, ConvPass) {
  const auto small = [](int64_t padding) { return padding >= 0 && padding <= 2; };
  return options().winograd && s.kh == 3 && s.kw == 3 && s.sh == 1 && s.sw == 1 && s.dh == 1 && s.dw == 1 &&
         s.groups == 1 && s.ic >= WINOGRAD_BLOCK && s.oc >= WINOGRAD_BLOCK && small(s.pt) && small(s.pl) &&
         small(s.pb) && small(s.pr) && s.n > 0 && s.oh > 0 && s.ow > 0;
}

double cost_of(const ConvShape& s, ConvPass pass, const WinogradTransforms& f) {
  const TileGrid grid(Correlation::of(s, pass == ConvPass::weight_grad ? ConvPass::forward : pass), f.outputs);
  const double points = f.points * f.points;
  const double in = double(round_up(s.ic, WINOGRAD_BLOCK)), out = double(round_up(s.oc, WINOGRAD_BLOCK));
  const double tiles = double(grid.tiles);
  const double a_weight =
      s.constant_weights ? std::max(PRODUCT * tiles, WEIGHT_READ) : PRODUCT * tiles + WEIGHT_TRANSFORM;
  return points * (a_weight * in * out + TILE_TRANSFORM * tiles * (in + out)) + START;
}

const WinogradTransforms& cheapest(const ConvShape& s, ConvPass pass) {
  const WinogradTable& table = isa().winograd;
  return cost_of(s, pass, table.f4) <= cost_of(s, pass, table.f2) ? table.f4 : table.f2;
}

double cost(const ConvShape& s, ConvPass pass) { return cost_of(s, pass, cheapest(s, pass)); }

KernelPtr make(const ConvShape& s, ConvPass pass) {
  const WinogradTransforms& transforms = cheapest(s, pass);
  return pass == ConvPass::weight_grad ? make_winograd_weight_grad(s, transforms)
                                       : make_winograd_correlation(s, pass, transforms);
}

}  // namespace

const ConvAlgorithm winograd_convolution = {"winograd", true, true, accepts, cost, make};

}  // namespace coolnn
