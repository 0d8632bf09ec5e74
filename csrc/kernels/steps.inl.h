// The loop over the steps of a register tile's sums, and where a step finds its operands. Included by kernels_isa.cpp
// alone, inside its anonymous namespace.
//
// Where a step is short, every instruction beside its multiply-adds and loads shows. So addresses are not computed but
// said by the loads themselves, as base + scale * index + offset: compilers would keep one for each load of a turn.
#pragma once

constexpr bool short_steps = steps_a_turn > 1;

template <class T>
TILECONV_INLINE const T* bytes_behind(const T* p, std::ptrdiff_t bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p) + bytes);
}

// `offset` elements and scale * index bytes behind base; scale is 0, 1, 2, 4 or 8.
template <class T, int scale, int offset = 0>
struct At {
  const T* base;
  std::ptrdiff_t index;

  TILECONV_INLINE const T* address() const { return bytes_behind(base + offset, scale * index); }
  // For rows of which it is the first, found by a register: where they are counted from, and `offset` where that is
  // left to their loads.
  static constexpr int row_offset = says_addresses && scale == 0 ? offset : 0;
  TILECONV_INLINE const T* first_row() const {
    if constexpr (says_addresses && scale == 0) return base;
    const T* first = address();
    TILECONV_OPAQUE(first);
    return first;
  }
  // The vector, or a value in all lanes, from `further` elements on.
  template <int further, class V = Vec<T>>
  TILECONV_INLINE V vector() const {
    if constexpr (says_addresses)
      return V::template load_at<(offset + further) * static_cast<int>(sizeof(T)), scale>(base, index);
    else
      return V::load(address() + further);
  }
  template <int further = 0, class V = Vec<T>>
  TILECONV_INLINE V value() const {
    if constexpr (says_addresses)
      return V::template broadcast_at<(offset + further) * static_cast<int>(sizeof(T)), scale>(base, index);
    else
      return V::broadcast(address()[further]);
  }
};

// Calls f(Constant<i>()) for i = 0, 1, .. n - 1.
template <int i>
struct Constant {
  static constexpr int value = i;
};
template <int n, int i = 0, class F>
TILECONV_INLINE void for_constants(F f) {
  if constexpr (i < n) {
    f(Constant<i>());
    for_constants<n, i + 1>(f);
  }
}

// `rows` rows that are `step` elements apart, as 1, 2 or 4 times a distance behind the first of eight; where there are
// more, of four, since every distance is a register.
template <class T, int rows>
class Rows {
 public:
  // One after the other: as a vector of four products they would go through memory.
  TILECONV_INLINE explicit Rows(std::ptrdiff_t step) : one_(step * static_cast<std::ptrdiff_t>(sizeof(T))) {
    TILECONV_OPAQUE(one_);
    three_ = 3 * one_;
    TILECONV_OPAQUE(three_);
    five_ = 5 * one_;
    TILECONV_OPAQUE(five_);
    seven_ = 7 * one_;
    TILECONV_OPAQUE(seven_);
  }
  // Called for row 0, 1, .. in this order: `first`, row 0 in the beginning, moves on to the first of each eight or
  // four.
  template <int row, int offset = 0>
  TILECONV_INLINE auto at(const T*& first) const {
    if (row > 0 && row % together == 0) {
      first = bytes_behind(first, together * one_);
      TILECONV_OPAQUE(first);
    }
    constexpr int i = row % together;
    if constexpr (i % 2 == 0)
      return At<T, i == 6 ? 2 : i, offset>{first, i == 6 ? three_ : one_};
    else
      return At<T, 1, offset>{first, i == 1 ? one_ : i == 3 ? three_ : i == 5 ? five_ : seven_};
  }

 private:
  static constexpr int together = rows > 8 ? 4 : 8;
  std::ptrdiff_t one_, three_, five_, seven_;
};

// The operand of single steps, `step` elements apart. A turn takes at<0>() and moves on by next<0>(), then at<1>() ..
// Stepped: one address, for operands that need the index for their rows. Adjacent: the same for steps of one element,
// which are offsets. Indexed: the address moves once a turn.
template <class T>
class Stepped {
 public:
  TILECONV_INLINE Stepped(const T* from, std::ptrdiff_t step) : at_(from), step_(step) {}
  template <int i>
  TILECONV_INLINE At<T, 0> at() const {
    return {at_, 0};
  }
  template <int i>
  TILECONV_INLINE void next() {
    step_on();
    TILECONV_OPAQUE(at_);
  }
  TILECONV_INLINE void step_on() { at_ += step_; }

 private:
  const T* at_;
  std::ptrdiff_t step_;
};

template <class T>
class Adjacent {
 public:
  TILECONV_INLINE explicit Adjacent(const T* from) : at_(from) {}
  template <int i>
  TILECONV_INLINE At<T, 0, i> at() const {
    return {at_, 0};
  }
  template <int i>
  TILECONV_INLINE void next() {
    if (i < steps_a_turn - 1) return;
    at_ += steps_a_turn;
    TILECONV_OPAQUE(at_);
  }
  TILECONV_INLINE void step_on() { ++at_; }

 private:
  const T* at_;
};

template <class T>
class Indexed {
 public:
  TILECONV_INLINE Indexed(const T* from, std::ptrdiff_t step) : at_(from), step_(step), steps_(step) {}
  template <int i>
  TILECONV_INLINE auto at() const {
    const T* first = at_;
    return steps_.template at<i>(first);
  }
  template <int i>
  TILECONV_INLINE void next() {
    if (i < steps_a_turn - 1) return;
    at_ += steps_a_turn * step_;
    TILECONV_OPAQUE(at_);
  }
  TILECONV_INLINE void step_on() { at_ += step_; }

 private:
  const T* at_;
  std::ptrdiff_t step_;
  Rows<T, steps_a_turn> steps_;
};

// step(x, w) for every step, fetch() before those of a turn.
template <class X, class W, class Fetch, class Step>
TILECONV_INLINE void for_steps(std::int64_t steps, X x, W w, Fetch& fetch, Step step) {
  for (; steps >= steps_a_turn; steps -= steps_a_turn) {
    fetch();
    for_constants<steps_a_turn>([&](auto i) TILECONV_INLINE_LAMBDA {
      step(x.template at<i.value>(), w.template at<i.value>());
      x.template next<i.value>();
      w.template next<i.value>();
    });
  }
  for (; short_steps && steps > 0; --steps) {
    step(x.template at<0>(), w.template at<0>());
    x.step_on();
    w.step_on();
  }
}

// A step of a register tile: sum[m][v] += value(m) * vector(v).
template <class V, int rows, int vectors, class Value, class Vector>
TILECONV_INLINE void add_outer_product(V (&sum)[rows][vectors], Value value, Vector vector) {
  V column[vectors];
  for_constants<vectors>([&](auto v)
                             TILECONV_INLINE_LAMBDA { column[v.value] = rows > 1 ? V::kept(vector(v)) : vector(v); });
  for_constants<rows>([&](auto m) TILECONV_INLINE_LAMBDA {
    const V row = value(m);
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) V::add_product(sum[m.value][v], row, column[v]);
  });
}

struct FetchNothing {
  TILECONV_INLINE FetchNothing() = default;
  template <class T>
  TILECONV_INLINE FetchNothing(const T*, std::ptrdiff_t) {}
  TILECONV_INLINE void operator()() const {}
};

// More cannot be on their way at a time.
constexpr int fetched_lines = short_steps ? 3 : 2;

// Fetches what follows into L2: in each turn of the sums `step` elements, as up to three cache lines in equal parts of
// it. There is no branch: to find out whether a line is due would cost more than to ask for one that is there.
template <class T, int lines>
class FetchAhead {
 public:
  TILECONV_INLINE FetchAhead(const T* from, std::ptrdiff_t step)
      : next_(from), step_(step * static_cast<std::ptrdiff_t>(sizeof(T))), part_(step_ / lines) {}
  TILECONV_INLINE void operator()() {
    TILECONV_PREFETCH_L2(next_);
    if constexpr (lines > 1) TILECONV_PREFETCH_L2(bytes_behind(next_, part_));
    if constexpr (lines > 2) TILECONV_PREFETCH_L2(bytes_behind(next_, 2 * part_));
    next_ = bytes_behind(next_, step_);
    TILECONV_OPAQUE(next_);
  }

 private:
  const T* next_;
  std::ptrdiff_t step_, part_;
};

// A line in each step, where that does not show.
template <class T, bool shows = short_steps>
struct LineAhead : FetchAhead<T, 1> {
  using FetchAhead<T, 1>::FetchAhead;
};
template <class T>
struct LineAhead<T, true> : FetchNothing {
  using FetchNothing::FetchNothing;
};
