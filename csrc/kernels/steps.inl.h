// The loop over the steps of a register tile's sums. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// Steps to a turn of the loop. With 16 registers a step is twelve multiply-adds, six cycles, in which a core issues
// some 30 instructions; but one that shares its issue slots with a neighbour, another thread of its own or another
// machine's, gets 15 to 20 of them: what is not a multiply-add or a load then costs as much as one. (Zen 3 with a busy
// neighbour: 72 % of the peak by single steps, 85 % by four.) With 32 registers a step is long enough.
constexpr int steps_a_turn = vector_registers > 16 ? 1 : 4;

// turn(steps) at the start of every whole turn, step(x, w) for every step.
template <class T, class Turn, class Step>
TILECONV_INLINE void for_steps(std::int64_t steps, const T* x, std::ptrdiff_t x_step, const T* w,
                               std::ptrdiff_t w_step, Turn turn, Step step) {
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
  TILECONV_INLINE void fetch(int steps) {
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
  static constexpr int most_lines = 8;  // in a turn
  const T *next_, *end_;
  std::ptrdiff_t step_;
};
