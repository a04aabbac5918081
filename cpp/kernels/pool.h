#pragma once
#include <stdint.h>

namespace coolnn {

// One output row of max pooling over a channels-last picture. The window of output column o has `rows` rows from `row`
// and count[o] columns from first[o], `row_step` and `column_step` apart; it holds pixels inside the picture only.
struct MaxPoolRow {
  const float* x;        // the sample
  const float* x_end;    // end of the memory that may be read
  float* y;              // the output row
  int32_t* indices;      // of the maxima in the picture, h * width + w, as long as y
  const float* y_end;    // end of the memory that may be written (and is written again if it belongs to a later row)
  int64_t channels, width, out_width;
  int32_t row, rows, row_step, column_step;
  const int32_t *first, *count;
};

// One row of the gradient of max pooling for its input. Pixel w may be the maximum of the windows in `rows` output
// rows from `row` and in count[w] output columns from first[w].
struct MaxPoolGradRow {
  const float* grad;       // the sample
  const float* grad_end;   // end of the memory that may be read
  const int32_t* indices;  // as long as grad
  float* dx;               // the row
  const float* dx_end;     // end of the memory that may be written
  int64_t channels, width, out_width;
  int32_t pixel;  // index of the row's first pixel in the picture
  int32_t row, rows;
  const int32_t *first, *count;
};

struct PoolTable {
  void (*max_row)(const MaxPoolRow& r);
  void (*max_grad_row)(const MaxPoolGradRow& r);
  // dx[indices[p][c]][c] += grad[p][c] for channels [begin, end) of all p in [0, windows); indices outside the picture
  // (-1: a window without pixels) are left out. Zeroes these channels of dx first.
  void (*max_scatter)(const float* grad, const int32_t* indices, float* dx, int64_t windows, int64_t pixels,
                      int64_t channels, int64_t begin, int64_t end);
};

}  // namespace coolnn
