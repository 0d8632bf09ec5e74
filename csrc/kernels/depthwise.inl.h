// Input planes to output planes, one to one (contract: PlaneArgs in kernels.h): the kernels of depthwise convolution
// and of filters on single images. Included by kernels_isa.cpp alone, inside its anonymous namespace.
//
// With one multiply-add for each loaded element the load ports would be the limit, and unaligned loads take two slots.
// So several output rows are computed at once, a column of the kernel after the other: a loaded vector of input serves
// every row that it reaches, and weights of the column stay in registers.
#pragma once

// Output rows of one pass: 7 divides the sizes of most networks' images (7, 14, 28, 56, 112, 224), and as many sums,
// the weights of a kernel column and a vector of input fit 16 registers. With 32, twice as many save input loads.
constexpr int low_pass = 7, high_pass = 14;

// What a vector of outputs reads outside of the image. narrow: all but the first load lies there.
enum class Edge { none, some, narrow };

// The lanes in the image of load s of a vector of outputs, each `apart` elements behind the one before. The table has
// those of whole vectors, in whose loads those of a half one lie.
template <class V>
TILECONV_INLINE LaneBits lanes_of_load(const LaneBits* lanes, int s, int apart) {
  constexpr int whole = Vec<typename V::Element>::lanes;
  if constexpr (V::lanes == whole) return lanes[s];
  return static_cast<LaneBits>(lanes[s * apart / whole] >> s * apart % whole & ((1 << V::lanes) - 1));
}

// Vectors of input for adjacent outputs, `stride` elements apart; those of a stride of two in the order of even_odd,
// which the sums of them have too.
template <class V, int stride, Edge edge>
struct ColumnLoad {
  using T = typename V::Element;
  static_assert(stride == 1 || stride == 2, "a pair of loads holds two elements for each output");
  static constexpr int apart = V::lanes - 1;
  typename V::Mask mask[stride];

  TILECONV_INLINE explicit ColumnLoad(const LaneBits* lanes) {
    if (edge != Edge::none) {
      TILECONV_UNROLL
      for (int s = 0; s < stride; ++s) mask[s] = V::mask_of(lanes_of_load<V>(lanes, s, apart));
    }
  }
  TILECONV_INLINE V one(const T* p, int s) const {
    return edge == Edge::none ? V::load(p + s * apart) : V::load_masked(p + s * apart, mask[s]);
  }
  TILECONV_INLINE V operator()(const T* p) const {
    if constexpr (stride == 1)
      return one(p, 0);
    else
      return V::even_odd(one(p, 0), one(p, 1));
  }
};

// Adds the products of `taps` rows of one kernel column, weights[i * kernel_w]: rows[r * stride + i] is what tap i of
// output row r reads, at `column`.
template <int taps, int stride, bool fetch, class V, class T, class Load>
TILECONV_INLINE void add_column(const PlaneArgs<T>& a, const T* const* rows, std::int64_t column, const Load& load,
                                const T* weights, V (&sum)[low_pass]) {
  V weight[taps];
  TILECONV_UNROLL
  for (int i = 0; i < taps; ++i) weight[i] = V::broadcast(weights[i * a.kernel_w]);
  TILECONV_UNROLL
  for (int q = 0; q < (low_pass - 1) * stride + taps; ++q) {
    if (fetch && q >= taps - stride) TILECONV_PREFETCH(rows[q] + column + a.ahead);
    const V value = load(rows[q] + column);
    TILECONV_UNROLL
    for (int r = 0; r < low_pass; ++r) {
      const int i = q - r * stride;
      if (i >= 0 && i < taps) sum[r] = V::fma(weight[i], value, sum[r]);
    }
  }
}

// All columns of `taps` kernel rows; with the first one, what the next pass reads is fetched.
template <int taps, int stride_h, int stride_w, bool fetch, Edge edge, class V, class T>
TILECONV_INLINE void add_kernel_rows(const PlaneArgs<T>& a, const T* const* rows, const T* weights, std::int64_t x,
                                     const LaneBits* lanes, V (&sum)[low_pass], std::int64_t first = 0) {
  for (std::int64_t j = first; j < (fetch ? 1 : a.kernel_w); ++j) {
    // More rows than address registers: without this they would be kept across the columns, in the wrong registers.
    TILECONV_OPAQUE(rows);
    const ColumnLoad<V, stride_w, edge> load(lanes + j * stride_w);
    add_column<taps, stride_h, fetch>(a, rows, x * stride_w + a.columns[j], load, weights + j, sum);
  }
  if constexpr (fetch) add_kernel_rows<taps, stride_h, stride_w, false, edge>(a, rows, weights, x, lanes, sum, 1);
}

// The sums of a pass of output vectors at column x. Height and stride of the kernel are compile-time where not 0.
template <int kernel_h, int stride_h, int stride_w, bool fetch>
struct ColumnByColumn {
  static constexpr int pass = low_pass;
  template <class V>
  static TILECONV_INLINE bool one_load(const LaneBits*) {
    return false;
  }
  template <class V>
  static TILECONV_INLINE V in_order(const V& sum) {
    return stride_w == 2 ? V::in_order(sum) : sum;
  }
  template <Edge edge, class V, class T>
  static TILECONV_INLINE void add(const PlaneArgs<T>& a, const T* const* rows, const T* weights, std::int64_t x,
                                  const LaneBits* lanes, V (&sum)[pass]) {
    if constexpr (kernel_h > 0) {
      add_kernel_rows<kernel_h, stride_h, stride_w, fetch, edge>(a, rows, weights, x, lanes, sum);
    } else if constexpr (stride_h == 1) {
      // In even parts of up to 5 kernel rows: then 11 rows of input are in use, which the cache can hold even if all of
      // them fall into the same set of 12 lines, as in images whose rows are 4 KB apart.
      const std::int64_t parts = (a.kernel_h + 4) / 5;
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t begin = a.kernel_h * part / parts, taps = a.kernel_h * (part + 1) / parts - begin;
        const T* const* const part_rows = rows + begin;
        const T* const part_weights = weights + begin * a.kernel_w;
        switch (taps) {
          case 5: add_kernel_rows<5, 1, stride_w, false, edge>(a, part_rows, part_weights, x, lanes, sum); break;
          case 4: add_kernel_rows<4, 1, stride_w, false, edge>(a, part_rows, part_weights, x, lanes, sum); break;
          case 3: add_kernel_rows<3, 1, stride_w, false, edge>(a, part_rows, part_weights, x, lanes, sum); break;
          case 2: add_kernel_rows<2, 1, stride_w, false, edge>(a, part_rows, part_weights, x, lanes, sum); break;
          default: add_kernel_rows<1, 1, stride_w, false, edge>(a, part_rows, part_weights, x, lanes, sum); break;
        }
      }
    } else {
      // Any stride: a load for each multiply-add.
      const std::int64_t outer = a.columns_first ? a.kernel_w : a.kernel_h,
                         inner = a.columns_first ? a.kernel_h : a.kernel_w;
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::int64_t n = 0; n < inner; ++n) {
          const std::int64_t i = a.columns_first ? n : o, j = a.columns_first ? o : n;
          const ColumnLoad<V, stride_w, edge> load(lanes + j * stride_w);
          const V weight = V::broadcast(weights[i * a.kernel_w + j]);
          TILECONV_UNROLL
          for (int r = 0; r < pass; ++r)
            sum[r] = V::fma(weight, load(rows[r * a.stride_h + i] + x * stride_w + a.columns[j]), sum[r]);
        }
    }
  }
};

// Adjacent columns, with registers enough: unaligned loads, which mostly cross two cache lines, are the limit, so a row
// of input is loaded once and shifted from column to column. Those that fetch what the next pass reads gain a tenth
// where the hardware's prefetcher does not, and lose a twentieth elsewhere.
template <int kernel_h, int kernel_w, int stride, bool fetch, int pass_rows>
struct ShiftedRows {
  static constexpr int pass = pass_rows;
  static constexpr int loads = stride + 1;
  template <class V>
  static TILECONV_INLINE bool one_load(const LaneBits* lanes) {
    return lanes_of_load<V>(lanes, 1, V::lanes) == 0 && lanes_of_load<V>(lanes, stride, V::lanes) == 0;
  }
  template <class V>
  static TILECONV_INLINE const V& in_order(const V& sum) {
    return sum;
  }

  template <Edge edge, class V, class T>
  static TILECONV_INLINE void add(const PlaneArgs<T>& a, const T* const* rows, const T* weights, std::int64_t x,
                                  const LaneBits* lanes, V (&sum)[pass]) {
    constexpr int used = edge == Edge::narrow ? 1 : loads;
    typename V::Mask mask[loads];
    if (edge != Edge::none) {
      TILECONV_UNROLL
      for (int s = 0; s < used; ++s) mask[s] = V::mask_of(lanes_of_load<V>(lanes, s, V::lanes));
    }
    V weight[kernel_h * kernel_w];
    TILECONV_UNROLL
    for (int t = 0; t < kernel_h * kernel_w; ++t) weight[t] = V::broadcast(weights[t]);
    const std::int64_t column = x * stride + a.columns[0];
    TILECONV_UNROLL
    for (int q = 0; q < (pass - 1) * stride + kernel_h; ++q) {
      V loaded[loads];
      TILECONV_UNROLL
      for (int s = 0; s < loads; ++s) {
        const T* const from = rows[q] + column + s * V::lanes;
        if (fetch && s < stride && q >= kernel_h - stride) TILECONV_PREFETCH(from + a.ahead);
        // A masked load of nothing would be no less slow, and much slower beyond the end of the image's memory.
        loaded[s] = s >= used ? V::broadcast(T(0)) : edge == Edge::none ? V::load(from) : V::load_masked(from, mask[s]);
      }
      add_taps<0>(q, loaded, weight, sum);
    }
  }

 private:
  // What tap j of a row of outputs reads.
  template <int j, class V>
  static TILECONV_INLINE V tap(const V (&loaded)[loads]) {
    if constexpr (stride == 1) {
      return V::template shift_in<j>(loaded[0], loaded[1]);
    } else {
      const V low = j % 2 ? V::odd(loaded[0], loaded[1]) : V::even(loaded[0], loaded[1]);
      // Of a single element that is shifted in, the first, its vector need not be put in order.
      if constexpr (j < 3) return V::template shift_in<j / 2>(low, loaded[2]);
      const V high = j % 2 ? V::odd(loaded[2], loaded[2]) : V::even(loaded[2], loaded[2]);
      return V::template shift_in<j / 2>(low, high);
    }
  }
  template <int j, class V>
  static TILECONV_INLINE void add_taps(int q, const V (&loaded)[loads], const V (&weight)[kernel_h * kernel_w],
                                       V (&sum)[pass]) {
    if constexpr (j < kernel_w) {
      const V value = tap<j>(loaded);
      TILECONV_UNROLL
      for (int r = 0; r < pass; ++r) {
        const int i = q - r * stride;
        if (i >= 0 && i < kernel_h) sum[r] = V::fma(weight[i * kernel_w + j], value, sum[r]);
      }
      add_taps<j + 1>(q, loaded, weight, sum);
    }
  }
};

// A pass of outputs from column x on: a vector of `height` rows, or what there is of it. `lanes` are those in the image
// of a whole vector's loads. A half vector lies at the right edge, mostly.
template <class V, class Sums, class T>
TILECONV_INLINE void plane_pass(const PlaneArgs<T>& a, const T* const* rows, const T* weights, const V& bias,
                                std::int64_t x, const LaneBits* lanes, T* out, const std::ptrdiff_t* out_rows,
                                std::int64_t height) {
  constexpr int pass = Sums::pass;
  V sum[pass];
  TILECONV_UNROLL
  for (int r = 0; r < pass; ++r) sum[r] = bias;
  constexpr Edge inner = V::lanes == Vec<T>::lanes ? Edge::none : Edge::some;
  if (x >= a.inner_begin && x < a.inner_end)
    Sums::template add<inner>(a, rows, weights, x, lanes, sum);
  else if (Sums::template one_load<V>(lanes))
    Sums::template add<Edge::narrow>(a, rows, weights, x, lanes, sum);
  else
    Sums::template add<Edge::some>(a, rows, weights, x, lanes, sum);
  TILECONV_UNROLL
  for (int r = 0; r < pass; ++r) sum[r] = Sums::in_order(sum[r]);
  const std::int64_t left = a.width - x;
  if (height < pass) {
    TILECONV_UNROLL
    for (int r = 0; r < pass; ++r)
      if (r < height) sum[r].store_first(out + out_rows[r] + x, left < V::lanes ? left : V::lanes);
  } else if (left >= V::lanes) {
    TILECONV_UNROLL
    for (int r = 0; r < pass; ++r) sum[r].store(out + out_rows[r] + x);
  } else {
    TILECONV_UNROLL
    for (int r = 0; r < pass; ++r) sum[r].store_first(out + out_rows[r] + x, left);
  }
}

template <class T, class Sums, int stride_h, int stride_w>
void planes(const PlaneArgs<T>& a) noexcept {
  using V = Vec<T>;
  using Half = typename V::Half;
  constexpr int pass = Sums::pass;
  PlaneRows<T> plane_rows(a);
  // The last pass may overlap the one before it: the same sums twice.
  const std::int64_t last = a.height > pass ? a.height - pass : 0;
  for (std::int64_t p = 0; p < a.planes; ++p) {
    const T* const* const own = plane_rows.next(p);
    const T* const weights = a.weights + p * a.kernel_h * a.kernel_w;
    T* const out = a.out + p * a.out_plane;
    const T bias = a.bias ? a.bias[p] : T(0);
    for (std::int64_t y = 0; y < a.height; y += pass) {
      const std::int64_t from = y < last ? y : last, height = a.height - from;
      const T* const* const rows = own + from * (stride_h > 0 ? stride_h : a.stride_h);
      const std::ptrdiff_t* const out_rows = a.out_rows + from;
      const LaneBits* lanes = a.lanes;
      std::int64_t x = 0;
      for (; x + half_lanes<T> < a.width; x += V::lanes, lanes += a.loads)
        plane_pass<V, Sums>(a, rows, weights, V::broadcast(bias), x, lanes, out, out_rows, height);
      if (half_lanes<T> > 0 && x < a.width)
        plane_pass<Half, Sums>(a, rows, weights, Half::broadcast(bias), x, lanes, out, out_rows, height);
    }
  }
}

#if defined(__AVX512F__)
// Images whose rows of outputs fit the half of a vector: the rows of two planes are loaded into one, once, or into one
// for each remainder of a column by the stride, and a permutation of it is what a column of the kernel reads of both.
template <class T>
struct PairedColumn {
  typename Vec<T>::Index index;
  typename Vec<T>::Mask mask;
  // Reads elements n, n + 1, .. of a row, those of `lanes` from inside of the image.
  TILECONV_INLINE PairedColumn(std::ptrdiff_t n, LaneBits lanes)
      : index(Vec<T>::index_from(n)), mask(Vec<T>::mask_of(lanes)) {}
  TILECONV_INLINE Vec<T> operator()(const Vec<T>& row) const { return Vec<T>::permuted(row, index, mask); }
};

// Where a row of both planes is, and the lanes that it fills, of a half if its stride is 1: none, if it is one of
// zeros.
struct PairedRow {
  std::ptrdiff_t offset;
  std::int64_t lanes;
};
static_assert(sizeof(PairedRow) <= 2 * sizeof(std::int64_t), "`scratch` has room for so much a row");

// What two planes are computed from. Every address is that of a plane and what all planes have in common.
template <class T>
struct Pair {
  using V = Vec<T>;
  const T *low, *high, *low_weights, *high_weights;
  TILECONV_INLINE void begin_pass() {
    TILECONV_OPAQUE(low);
    TILECONV_OPAQUE(high);
    TILECONV_OPAQUE(low_weights);
    TILECONV_OPAQUE(high_weights);
  }
  // Of every `stride` elements the one that leaves the remainder.
  template <int stride, int remainder>
  TILECONV_INLINE V row(const PairedRow& r) const {
    const typename V::Mask lanes = V::mask_of(static_cast<LaneBits>(r.lanes));
    if constexpr (stride == 1) return V::load_halves(low + r.offset, high + r.offset, lanes);
    const V a = V::load_masked(low + r.offset, lanes), b = V::load_masked(high + r.offset, lanes);
    return remainder == 0 ? V::even(a, b) : V::odd(a, b);
  }
  TILECONV_INLINE V weight(std::int64_t tap) const { return V::broadcast_halves(low_weights[tap], high_weights[tap]); }
};

// Any number of columns, one after the other, those of the same remainder by the stride, of which all rows stay in
// registers.
template <class T, int kernel_h, int stride_>
struct PairsByColumn {
  using V = Vec<T>;
  static constexpr int pass = low_pass, stride = stride_, row_count = (pass - 1) * stride + kernel_h;
  TILECONV_INLINE explicit PairsByColumn(const PlaneArgs<T>&) {}
  TILECONV_INLINE void add(const PlaneArgs<T>& a, const PairedRow* rows, const Pair<T>& pair, V (&sum)[pass]) const {
    for_constants<stride>([&](auto remainder) TILECONV_INLINE_LAMBDA {
      V row[row_count];
      TILECONV_UNROLL
      for (int q = 0; q < row_count; ++q) row[q] = pair.template row<stride, remainder.value>(rows[q]);
      for (std::int64_t j = 0; j < a.kernel_w; ++j) {
        const std::ptrdiff_t first = a.columns[j] - remainder.value;
        if (first % stride != 0) continue;
        const PairedColumn<T> column(first / stride, a.lanes[j]);
        V weight[kernel_h];
        TILECONV_UNROLL
        for (int i = 0; i < kernel_h; ++i) weight[i] = pair.weight(i * a.kernel_w + j);
        TILECONV_UNROLL
        for (int q = 0; q < row_count; ++q) {
          const V value = column(row[q]);
          TILECONV_UNROLL
          for (int r = 0; r < pass; ++r)
            if (const int i = q - r * stride; i >= 0 && i < kernel_h) sum[r] = V::fma(weight[i], value, sum[r]);
        }
      }
    });
  }
};

// Adjacent columns, row by row, in the order of ShiftedRows.
template <class T, int kernel_h>
struct PairsByRow {
  using V = Vec<T>;
  static constexpr int pass = low_pass, stride = 1, kernel_w = 3;
  PairedColumn<T> column[kernel_w];
  TILECONV_INLINE explicit PairsByRow(const PlaneArgs<T>& a)
      : column{{a.columns[0], a.lanes[0]}, {a.columns[1], a.lanes[1]}, {a.columns[2], a.lanes[2]}} {}
  TILECONV_INLINE void add(const PlaneArgs<T>&, const PairedRow* rows, const Pair<T>& pair, V (&sum)[pass]) const {
    V weight[kernel_h * kernel_w];
    TILECONV_UNROLL
    for (int t = 0; t < kernel_h * kernel_w; ++t) weight[t] = pair.weight(t);
    TILECONV_UNROLL
    for (int q = 0; q < pass - 1 + kernel_h; ++q) {
      const V row = pair.template row<stride, 0>(rows[q]);
      TILECONV_UNROLL
      for (int j = 0; j < kernel_w; ++j) {
        const V value = column[j](row);
        TILECONV_UNROLL
        for (int r = 0; r < pass; ++r)
          if (q - r >= 0 && q - r < kernel_h) sum[r] = V::fma(weight[(q - r) * kernel_w + j], value, sum[r]);
      }
    }
  }
};

template <class T, class Sums>
void paired_planes(const PlaneArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int pass = Sums::pass;
  PairedRow* const rows = static_cast<PairedRow*>(a.scratch);
  for (std::int64_t q = 0; q < a.row_count; ++q)
    rows[q] = a.rows[q] == no_row ? PairedRow{0, 0} : PairedRow{a.rows[q], (1 << a.in_width) - 1};
  const std::int64_t taps = a.kernel_h * a.kernel_w;
  const std::int64_t last = a.height > pass ? a.height - pass : 0;
  const typename V::Mask columns = V::first(a.width);
  const Sums sums(a);
  for (std::int64_t p = 0; p < a.planes; p += 2) {
    const std::int64_t other = p + 1 < a.planes ? p + 1 : p;  // one without another is both
    Pair<T> pair{a.input + p * a.input_plane, a.input + other * a.input_plane, a.weights + p * taps,
                 a.weights + other * taps};
    T *const out = a.out + p * a.out_plane, *const other_out = a.out + other * a.out_plane;
    const V bias = a.bias ? V::broadcast_halves(a.bias[p], a.bias[other]) : V::broadcast(T(0));
    for (std::int64_t y = 0; y < a.height; y += pass) {
      const std::int64_t from = y < last ? y : last, height = a.height - from;
      V sum[pass];
      TILECONV_UNROLL
      for (int r = 0; r < pass; ++r) sum[r] = bias;
      pair.begin_pass();
      sums.add(a, rows + from * Sums::stride, pair, sum);
      const std::ptrdiff_t* const out_rows = a.out_rows + from;
      const auto store = [&](int r) TILECONV_INLINE_LAMBDA {
        sum[r].store_halves(out + out_rows[r], other_out + out_rows[r], columns);
      };
      if (height < pass) {
        TILECONV_UNROLL
        for (int r = 0; r < pass; ++r)
          if (r < height) store(r);
      } else {
        TILECONV_UNROLL
        for (int r = 0; r < pass; ++r) store(r);
      }
    }
  }
}
#endif

// In order of preference. Small heights with stride 1 are also what a strided layer's input gradient is made of. The
// last one takes any height and stride.
#define TILECONV_PLANES(kernel_h, kernel_w, stride_h, stride_w, fetches, ...) \
  {kernel_h, kernel_w, stride_h, stride_w, __VA_ARGS__::pass,                 \
   0,        0,        0,        fetches,  planes<T, __VA_ARGS__, stride_h, stride_w>}
#define TILECONV_COLUMNS(kernel_h, stride_h, stride_w, fetches) \
  TILECONV_PLANES(kernel_h, 0, stride_h, stride_w, fetches, ColumnByColumn<kernel_h, stride_h, stride_w, fetches>)
#define TILECONV_SHIFTED(kernel, stride, pass, fetches) \
  TILECONV_PLANES(kernel, kernel, stride, stride, fetches, ShiftedRows<kernel, kernel, stride, fetches, pass>)
#define TILECONV_PAIRED(kernel_h, kernel_w, stride, ...) \
  {kernel_h, kernel_w, stride, stride, __VA_ARGS__::pass, 0, 0, Vec<T>::lanes / 2, false, paired_planes<T, __VA_ARGS__>}
#define TILECONV_ROLLING(kernel, stride) \
  {kernel,                               \
   kernel,                               \
   stride,                               \
   stride,                               \
   1,                                    \
   RollingRows<T, kernel, stride>::back, \
   Vec<T>::lanes + 1,                    \
   0,                                    \
   false,                                \
   rolling_planes<T, RollingRows<T, kernel, stride>>}
template <class T>
constexpr PlaneKernel<T> plane_table[] = {
#if defined(__AVX512F__)
    TILECONV_PAIRED(3, 3, 1, PairsByRow<T, 3>),
    TILECONV_PAIRED(3, 0, 1, PairsByColumn<T, 3, 1>),
    TILECONV_PAIRED(5, 0, 1, PairsByColumn<T, 5, 1>),
    TILECONV_PAIRED(7, 0, 1, PairsByColumn<T, 7, 1>),
    TILECONV_PAIRED(5, 0, 2, PairsByColumn<T, 5, 2>),
    TILECONV_ROLLING(3, 1),
    TILECONV_ROLLING(3, 2),
    TILECONV_ROLLING(5, 2),
    TILECONV_SHIFTED(3, 1, high_pass, true),
    TILECONV_SHIFTED(3, 1, high_pass, false),
    TILECONV_SHIFTED(3, 1, low_pass, true),
    TILECONV_SHIFTED(3, 1, low_pass, false),
    TILECONV_SHIFTED(3, 2, low_pass, true),
    TILECONV_SHIFTED(3, 2, low_pass, false),
    TILECONV_SHIFTED(5, 2, low_pass, false),
#endif
    TILECONV_COLUMNS(1, 1, 1, false),
    TILECONV_COLUMNS(2, 1, 1, false),
    TILECONV_COLUMNS(3, 1, 1, true),
    TILECONV_COLUMNS(3, 1, 1, false),
    TILECONV_COLUMNS(4, 1, 1, false),
    TILECONV_COLUMNS(5, 1, 1, true),
    TILECONV_COLUMNS(5, 1, 1, false),
    TILECONV_COLUMNS(7, 1, 1, false),
    TILECONV_COLUMNS(3, 2, 2, true),
    TILECONV_COLUMNS(3, 2, 2, false),
    TILECONV_COLUMNS(5, 2, 2, true),
    TILECONV_COLUMNS(5, 2, 2, false),
    TILECONV_COLUMNS(7, 2, 2, false),
    TILECONV_COLUMNS(0, 1, 1, false),
    TILECONV_COLUMNS(0, 0, 1, false),
};
constexpr int plane_table_size = sizeof(plane_table<Element>) / sizeof(*plane_table<Element>);
