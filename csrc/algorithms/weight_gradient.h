// The weight gradient:
//   out[k, c, i, j] = sum over n, y, x of grad_output[n, k, y, x] * in[n, c, y * h.step + h.tap(i), x * w.step +
//   w.tap(j)]
// a GEMM that reduces over images, rows and columns. The input is staged as in the forward pass, so that a tap is a
// constant offset, and no im2col matrix is made. Two sweeps share the staging:
//   channel lanes, where a group's out channels fill vectors: grad_output is transposed to pixel-major order, and the
//     forward pass's register tile sums over pixels what it otherwise sums over channels and taps. The rows of the
//     register tile are in channels, for which the input is transposed too; or, where these are few, adjacent taps of a
//     kernel row, which are adjacent in an input row that is staged as it is;
//   dot, for few out channels (grouped, depthwise): vectors of pixels, summed across lanes at the end.
// A pointwise layer is a plain product of two matrices, each with its pixels adjacent: the one with fewer channels is
// transposed into the lanes, the other read where it is, with Winograd's product kernels.
// A task owns its elements of the result and sums them over all pixels in order, so that the number of threads does not
// show; running sums are closed after a fixed number of pixels to keep their rounding error small.
#pragma once

#include <cstdint>
#include <vector>

#include "../plan.h"
#include "../shift_map.h"

namespace tileconv {

template <class T>
class WeightGradientPlan final : public Plan {
 public:
  explicit WeightGradientPlan(const PlanRequest& request);

  double cycles() const noexcept override;
  std::int64_t workspace_bytes() const noexcept override {
    return (staged_size() + transposed_size() + grad_size() + 2 * sums_size()) * element;
  }
  PlanReport report() const override;
  void run(const ConvViews& v, const void*) const override;

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  static constexpr std::int64_t most_pixels = 4096;  // of one running sum

  // One tile in work.
  struct Tile {
    std::int64_t n, group, y0, y1, x0, x1, column_tile;
    std::int64_t c0, channels;            // the task's block of in channels
    std::int64_t panel_begin, panel_end;  // the task's part of the out channels
    bool skip;
    bool fresh, last;  // nothing is in the sums yet; no tile follows
    T *staged, *transposed, *grad, *sums, *totals;
  };

  std::int64_t row_of(std::int64_t t) const { return split_at(map_.h.out_size, tiles_h_, t); }
  std::int64_t column_of(std::int64_t t) const { return split_at(map_.w.out_size, tiles_w_, t); }
  std::int64_t panel_columns() const { return vectors_ * set_.lanes; }
  std::int64_t panels() const { return panels_; }
  // Dot: the first out channel of a panel.
  std::int64_t panel_channel(std::int64_t panel) const { return split_at(map_.out_channels, panels(), panel); }
  std::int64_t whole(std::int64_t n) const { return ceil_div(n, set_.lanes) * set_.lanes; }
  std::int64_t staged_size() const { return direct_ || in_place_ ? 0 : whole(block_ * plane_); }
  std::int64_t transposed_size() const {
    return channel_lanes_ && !tap_rows_ && !in_place_ ? whole(staged_h_.length * staged_w_.length * block_) : 0;
  }
  // The tile's grad_output, pixel-major in panels (channel lanes) or as rows that may be read in vectors (dot), and a
  // row on its way there.
  std::int64_t grad_row() const { return whole(tile_w_) + set_.lanes; }
  std::int64_t grad_size() const {
    const std::int64_t rows = map_.out_channels * grad_row();
    return channel_lanes_ ? panels_a_task() * panel_columns() * tile_h_ * tile_w_ + rows
           : grad_rows_   ? 0
                          : rows * tile_h_;
  }
  // Of one task's part of the out channels.
  std::int64_t panels_a_task() const { return ceil_div(panels(), splits_); }
  std::int64_t panel_sums() const { return block_ * map_.taps() * panel_columns(); }
  std::int64_t sums_size() const { return channel_lanes_ ? panels_a_task() * panel_sums() : 0; }
  // A single running sum needs no totals.
  bool single_sum() const { return batch_ * map_.h.out_size * map_.w.out_size < most_pixels; }
  // Where it is of single taps, the last tile's register tiles are rows of the result.
  bool writes_register_tiles() const { return single_sum() && map_.taps() == 1 && !skips_ && !in_place_; }

  // Columns staged as they lie in the input: all that a tile reaches, tap j of output 0 at j.
  std::int64_t reached(std::int64_t width) const { return (width - 1) * map_.w.step + map_.w.count; }
  StagedAxis whole_columns() const {
    StagedAxis staged;
    for (std::int64_t j = 0; j < map_.w.count; ++j) staged.tap_position.push_back(j);
    staged.length = reached(tile_w_);
    return staged;
  }
  std::vector<StagePiece> whole_pieces(std::int64_t t) const {
    return make_pieces(map_.w.map, column_of(t) * map_.w.step + map_.w.first, reached(column_of(t + 1) - column_of(t)));
  }

  template <class Kernel>
  void choose_tile(const Kernel* table, int count, std::int64_t most_rows);
  void cut_channel_lanes();
  void cut_in_place();
  void cut_dot();
  void cut_tile(std::int64_t floats_per_pixel);
  void find_skips();
  void split_work(int threads);
  bool finite(const ConvViews& v) const;
  void run_task(const ConvViews& v, std::int64_t task, bool skip) const;
  void stage_input(const ConvViews& v, const Tile& t) const;
  void transpose_input(const ConvViews& v, const Tile& t) const;
  void stage_grad(const ConvViews& v, const Tile& t) const;
  void sweep_channel_lanes(const ConvViews& v, const Tile& t) const;
  void sweep_in_place(const ConvViews& v, const Tile& t) const;
  void sweep_dot(const ConvViews& v, const Tile& t) const;
  void close_sums(Tile& t) const;
  void write(const ConvViews& v, const Tile& t) const;
  T* out(const ConvViews& v, const Tile& t, std::int64_t k) const {
    if (swapped_) return reinterpret_cast<T*>(v.out) + t.group * map_.in_channels * map_.out_channels + k;
    return reinterpret_cast<T*>(v.out) + ((t.group * map_.out_channels + k) * map_.in_channels + t.c0) * map_.taps();
  }
  const char* grad_output(const ConvViews& v, const Tile& t, std::int64_t y) const {
    return v.grad_output + t.n * v.grad_output_stride[0] + t.group * map_.out_channels * v.grad_output_stride[1] +
           y * v.grad_output_stride[2] + t.x0 * v.grad_output_stride[3];
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  bool grad_rows_;
  bool direct_ = false;  // the input is transposed without being staged first
  std::int64_t batch_;
  bool channel_lanes_, tap_rows_;
  bool in_place_ = false;         // pointwise: the input is read where it is
  bool swapped_ = false;          // and it and grad_output have changed places: what is computed is transposed
  int rows_ = 1, vectors_ = 1;    // of the register tile; dot: its columns
  std::int64_t most_panels_ = 1;  // of a task: its sums stay in L2
  std::int64_t panels_ = 1;       // of out channels: panel_columns() each, or rows_ at the most
  std::int64_t block_ = 1, blocks_ = 1, tile_h_ = 1, tile_w_ = 1, tiles_h_ = 1, tiles_w_ = 1, plane_ = 0, splits_ = 1;
  StagedAxis staged_h_, staged_w_;
  std::vector<std::vector<StagePiece>> pieces_;  // of each tile column
  std::vector<Tap> pixels_;                      // of one row, as the steps of the sum
  std::vector<std::ptrdiff_t> offsets_;          // dot: of every (in channel, tap) in the staged tile
  bool skips_ = false;
  int threads_ = 1;
};

}  // namespace tileconv
