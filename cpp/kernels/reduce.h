#pragma once
#include <stdint.h>

namespace coolnn {

enum class Reduction { sum, max, min, count };

// Sums are made in double all the way: it costs nothing next to the reading of memory, and sums that nearly cancel are
// right too. NaN wins in max and min.
struct ReduceTable {
  // out[r] = x[r * n + 0] op ... op x[r * n + n - 1]
  using RowsFunction = void (*)(const float* x, double* out, int64_t rows, int64_t n);
  // out[c] = x[c] op x[pitch + c] op ... over n rows
  using ColumnsFunction = void (*)(const float* x, int64_t pitch, double* out, int64_t n, int64_t columns);
  RowsFunction rows[int(Reduction::count)];
  ColumnsFunction columns[int(Reduction::count)];

  // The place of the first largest (or smallest) number, or of the first NaN if there is one, along rows and columns.
  using ArgRowsFunction = void (*)(const float* x, int64_t* out, int64_t rows, int64_t n);
  using ArgColumnsFunction = void (*)(const float* x, int64_t pitch, int64_t* out, int64_t n, int64_t columns);
  ArgRowsFunction argmax_rows, argmin_rows;
  ArgColumnsFunction argmax_columns, argmin_columns;
};

}  // namespace coolnn
