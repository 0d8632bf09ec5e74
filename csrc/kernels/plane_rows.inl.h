// Planes that are computed row by row, without passes (contract: PlaneArgs in kernels.h), and what all kernels of
// planes share. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// Pointers to the rows of one plane after the other.
template <class T>
class PlaneRows {
 public:
  TILECONV_INLINE explicit PlaneRows(const PlaneArgs<T>& a)
      : a_(a), zeros_(a.zeros), pointers_(static_cast<const T**>(a.scratch)), offsets_(a.rows), count_(a.row_count) {
    set(0);
  }
  // Those of plane p, the one after the last. The pointers of the next plane are stored while this one is computed:
  // read at once they would be waited for.
  TILECONV_INLINE const T* const* next(std::int64_t p) {
    if (p + 1 < a_.planes) set(p + 1);
    return pointers_ + p % 2 * count_;
  }

 private:
  TILECONV_INLINE void set(std::int64_t p) {
    const T* const input = a_.input + p * a_.input_plane;
    const T** const to = pointers_ + p % 2 * count_;
    for (std::int64_t q = 0; q < count_; ++q) to[q] = offsets_[q] == no_row ? zeros_ : input + offsets_[q];
  }
  const PlaneArgs<T>& a_;
  // Copies, which stores to the output cannot change: the compiler may then use vectors for the table of pointers.
  const T* const zeros_;
  const T** const pointers_;
  const std::ptrdiff_t* const offsets_;
  const std::int64_t count_;
};

#if defined(__AVX512F__)
// Wide rows, adjacent columns: a block of up to four vectors goes down the image, and a row that comes in is added to
// all rows of outputs that it reaches, which are as many sums. A block loads each vector of input once, 93 % of the
// multiply-adds' limit from L2, where passes of 14 rows reach 85 %. What tap j reads is shifted from one vector to the
// next; of a stride of two, its even or odd elements are taken apart first, once for all taps and rows.
template <class T, int kernel, int stride>
struct RollingRows {
  using V = Vec<T>;
  static constexpr int most_vectors = 4;
  static constexpr int back = (kernel - 1) / stride, open = back + 1;  // rows of outputs that a row of input reaches
  static constexpr bool keeps_weights = kernel <= 3;                   // in registers

  // Element i of the input is element i / stride of `even` or `odd`. Of stride 1 all are in `even`.
  struct Elements {
    V even, odd;
  };

  // Outputs of `vectors` vectors from column x on, whose lanes in the image are `lanes` on, unless all loads are
  // inside. The first and the last rows that come in reach rows of outputs which do not exist: sums that are never
  // stored.
  template <int vectors, bool inside>
  static TILECONV_INLINE void block(const PlaneArgs<T>& a, const T* const* rows, const T* weights, const V& bias,
                                    std::int64_t x, const LaneBits* lanes, T* out) {
    constexpr int loads = vectors * stride + 1;
    const std::int64_t height = a.height, left = a.width - x - (vectors - 1) * V::lanes;
    typename V::Mask mask[loads];
    std::ptrdiff_t from[loads];
    TILECONV_UNROLL
    for (int s = 0; s < loads; ++s) {
      from[s] = x * stride + a.columns[0] + s * V::lanes;
      if constexpr (inside) continue;
      // Each vector has stride + 1 entries, the last of which is the first of the next vector.
      const LaneBits bits = lanes[s + (s / stride < vectors ? s / stride : vectors - 1)];
      mask[s] = V::mask_of(bits);
      // A masked load of nothing is much slower where there is no memory.
      if (bits == 0) from[s] = 0;
    }
    V weight[kernel * kernel];
    for (int t = 0; keeps_weights && t < kernel * kernel; ++t) weight[t] = V::kept(V::broadcast(weights[t]));
    V sum[open][vectors];
    for (auto& row : sum)
      for (V& s : row) s = bias;
    // Row y of outputs begins, and row y - back ends. Everything is `kept`: where the compiler orders it, it spills.
    std::int64_t y = 0;
    const auto step = [&](auto phase) TILECONV_INLINE_LAMBDA {
      const auto add_row = [&](auto u) TILECONV_INLINE_LAMBDA {
        const T* row = rows[y * stride + u.value];
        TILECONV_OPAQUE(row);
        if (!keeps_weights) TILECONV_OPAQUE(weights);
        const auto load = [&](int s) TILECONV_INLINE_LAMBDA {
          return V::kept(inside ? V::load(row + from[s]) : V::load_masked(row + from[s], mask[s]));
        };
        const auto elements = [&](const V& first, int s) TILECONV_INLINE_LAMBDA {
          if constexpr (stride == 1) return Elements{first, first};
          const V second = s < loads ? load(s) : first;
          return Elements{V::kept(V::even(first, second)), V::kept(V::odd(first, second))};
        };
        Elements here = elements(load(0), 1);
        for_constants<vectors>([&](auto k) TILECONV_INLINE_LAMBDA {
          constexpr int s = stride * (k.value + 1);
          const V next = load(s);
          // The first element of a vector is the first of its even ones, and 3 columns read no other.
          const Elements beside = s + 1 == loads && kernel == 3 ? Elements{next, next} : elements(next, s + 1);
          for_constants<kernel>([&](auto j) TILECONV_INLINE_LAMBDA {
            constexpr bool odd = j.value % stride != 0;
            const V value = V::kept(
                V::template shift_in<j.value / stride>(odd ? here.odd : here.even, odd ? beside.odd : beside.even));
            for_constants<open>([&](auto d) TILECONV_INLINE_LAMBDA {
              constexpr int i = u.value + d.value * stride, t = i * kernel + j.value;
              if constexpr (i < kernel) {
                V& own = sum[(phase.value + open - d.value) % open][k.value];
                own = V::kept(V::fma(keeps_weights ? weight[t] : V::broadcast(weights[t]), value, t == 0 ? bias : own));
              }
            });
          });
          here = beside;
        });
      };
      static_assert((kernel - 1) % stride == 0, "the last row that y - back reads is the first that comes in with y");
      add_row(Constant<0>());
      if (y >= back) {
        constexpr int done = (phase.value + 1) % open;
        T* const to = out + a.out_rows[y - back] + x;
        TILECONV_UNROLL
        for (int k = 0; k + 1 < vectors; ++k) sum[done][k].store(to + k * V::lanes);
        sum[done][vectors - 1].store_first(to + (vectors - 1) * V::lanes, left < V::lanes ? left : V::lanes);
      }
      if (y + 1 == height + back) return false;
      for_constants<stride, 1>(add_row);
      ++y;
      return true;
    };
    for (bool more = true; more;)
      for_constants<open>([&](auto phase) TILECONV_INLINE_LAMBDA { more = more && step(phase); });
  }
};

template <class T, class Rolling>
void rolling_planes(const PlaneArgs<T>& a) noexcept {
  constexpr std::int64_t lanes = Vec<T>::lanes;
  const std::int64_t vectors = (a.width + lanes - 1) / lanes;
  const std::int64_t blocks = (vectors + Rolling::most_vectors - 1) / Rolling::most_vectors;
  PlaneRows<T> plane_rows(a);
  for (std::int64_t p = 0; p < a.planes; ++p) {
    const T* const* const rows = plane_rows.next(p);
    const T* const weights = a.weights + p * a.kernel_h * a.kernel_w;
    T* const out = a.out + p * a.out_plane;
    const Vec<T> bias = Vec<T>::broadcast(a.bias ? a.bias[p] : T(0));
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t begin = vectors * b / blocks, count = vectors * (b + 1) / blocks - begin, x = begin * lanes;
      const bool inner = x >= a.inner_begin && x + count * lanes <= a.inner_end;
      for_constants<Rolling::most_vectors + 1, 1>([&](auto n) TILECONV_INLINE_LAMBDA {
        if (count != n.value) return;
        const LaneBits* const ranges = a.lanes + begin * a.loads;
        if (inner)
          Rolling::template block<n.value, true>(a, rows, weights, bias, x, ranges, out);
        else
          Rolling::template block<n.value, false>(a, rows, weights, bias, x, ranges, out);
      });
    }
  }
}
#endif
