// The loop over the steps of a register tile's sums. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// step(x, w) for every step, turn(count) before so many of them.
template <class T, class Turn, class Step>
TILECONV_INLINE void for_steps(std::int64_t steps, const T* x, std::ptrdiff_t x_step, const T* w, std::ptrdiff_t w_step,
                               Turn& turn, Step step) {
  for (; steps >= steps_a_turn; steps -= steps_a_turn) {
    turn(steps_a_turn);
    TILECONV_UNROLL
    for (int i = 0; i < steps_a_turn; ++i) {
      step(x, w);
      x += x_step;
      w += w_step;
      // One address each: else the compiler keeps one for every load of the turn, in memory.
      TILECONV_OPAQUE(x);
      TILECONV_OPAQUE(w);
    }
  }
  if (steps_a_turn > 1 && steps > 0) turn(static_cast<int>(steps));
  for (; steps > 0; --steps) {
    step(x, w);
    x += x_step;
    w += w_step;
  }
}

// Fetches what follows into L2, `step` elements for each step of the sums: of a long step `lines` cache lines, in equal
// parts of it; of short ones a line whenever one is due, since each fetch takes the place of a multiply-add.
template <class T, int lines>
class FetchAhead {
 public:
  TILECONV_INLINE FetchAhead(const T* from, std::ptrdiff_t step) : next_(from), end_(from), step_(step) {}
  TILECONV_INLINE void operator()(int steps) {
    end_ += steps * step_;
    if (steps_a_turn == 1) {
      TILECONV_UNROLL
      for (int i = 0; i < lines; ++i) TILECONV_PREFETCH_L2(next_ + i * step_ / lines);
      next_ = end_;
      return;
    }
    // Not a loop around the fetches, which would be aligned in the midst of the turn.
    TILECONV_UNROLL
    for (int i = 0; i < most_lines; ++i) {
      if (next_ >= end_) break;
      TILECONV_PREFETCH_L2(next_);
      next_ += 64 / sizeof(T);
    }
  }

 private:
  static constexpr int most_lines = 2 * steps_a_turn;  // no caller asks for more
  const T *next_, *end_;
  std::ptrdiff_t step_;
};
