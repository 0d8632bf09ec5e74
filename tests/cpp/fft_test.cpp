// The Fourier transforms on every instruction set: what they are for, circular convolution, against plain loops.
#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>

#include "kernels/kernels.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class Fft : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Fft, Elements, );

constexpr double pi = 3.14159265358979323846;

// A complex n x n matrix in panels, real parts first.
template <class T>
struct Matrix {
  const KernelSet<T>& set;
  std::int64_t n;
  Guarded<T> parts{static_cast<std::size_t>(2 * n * n), Edge::end};

  std::int64_t at(std::int64_t y, std::int64_t x) const { return (x / set.lanes * n + y) * set.lanes + x % set.lanes; }
  T* re() { return parts.data(); }
  T* im() { return parts.data() + n * n; }
  std::complex<double> value(std::int64_t y, std::int64_t x) {
    return {double(re()[at(y, x)]), double(im()[at(y, x)])};
  }
};

template <class T>
std::vector<T> twiddles(const KernelSet<T>& set, std::int64_t n) {
  std::vector<T> all;
  for (std::int64_t length = n, radix; length > 1; length /= radix) {
    radix = fft_radix(length, set.fft_most_radix);
    for (std::int64_t j = 0; j < length / radix; ++j)
      for (std::int64_t q = 1; q < radix; ++q) {
        const std::complex<double> w = std::polar(1.0, -2 * pi * double(j * q) / double(length));
        all.push_back(static_cast<T>(w.real())), all.push_back(static_cast<T>(w.imag()));
      }
  }
  return all;
}

TEST(FftRadix, StagesMakeUpEverySize) {
  for (const int most : {4, 8})
    for (std::int64_t n = 4; n <= 4096; n *= 2) {
      std::int64_t length = n;
      while (length > 1) {
        const int radix = fft_radix(length, most);
        ASSERT_TRUE(radix == 2 || radix == 4 || radix == 8) << n;
        ASSERT_LE(radix, std::max(most, 4)) << n;
        ASSERT_EQ(length % radix, 0) << n;
        length /= radix;
      }
      ASSERT_EQ(length, 1) << n;
    }
}

// Up to sizes whose parts are transformed one after the other, whatever the set's vectors take of L1.
TYPED_TEST(Fft, ColumnsAreConvolved) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    for (const std::int64_t n : {8, 16, 32, 64, 128, 256, 512, 1024}) {
      if (n < set.lanes) continue;
      const std::int64_t apart = n <= 128 ? 5 : n / 2 - 1;  // columns that are looked at
      Random random(3);
      Matrix<T> a{set, n}, b{set, n}, c{set, n};
      fill_normals(a.parts, random);
      fill_normals(b.parts, random);
      std::vector<std::complex<double>> expected(static_cast<std::size_t>(n * n));
      for (std::int64_t x = 0; x < n; x += apart)
        for (std::int64_t y = 0; y < n; ++y)
          for (std::int64_t u = 0; u < n; ++u)
            expected[static_cast<std::size_t>(y * n + x)] += a.value(u, x) * b.value((y - u + n) % n, x);
      const std::vector<T> w = twiddles<T>(set, n);
      const auto columns = [&](Matrix<T>& m) { return FftArgs<T>{m.re(), m.im(), n, 0, n / set.lanes, w.data()}; };
      set.fft_forward(columns(a));
      set.fft_forward(columns(b));
      set.fft_product({a.re(), a.im(), b.re(), b.im(), c.re(), c.im(), n * n});
      set.fft_backward(columns(c));
      const double tolerance = (sizeof(T) == 4 ? 1e-6 : 1e-15) * double(n) * double(n);
      for (std::int64_t x = 0; x < n; x += apart)
        for (std::int64_t y = 0; y < n; ++y)
          ASSERT_NEAR(std::abs(c.value(y, x) - expected[static_cast<std::size_t>(y * n + x)] * double(n)), 0, tolerance)
              << "size " << n << ", row " << y << ", column " << x;
    }
  });
}

// A product may overwrite its first factor; a part of the panels leaves the others alone.
TYPED_TEST(Fft, ProductsAndPanels) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    const std::int64_t n = 32;
    Random random(4);
    Matrix<T> a{set, n}, b{set, n}, c{set, n};
    fill_integers(a.parts, random);
    fill_integers(b.parts, random);
    set.fft_product({a.re(), a.im(), b.re(), b.im(), c.re(), c.im(), n * n});
    for (std::int64_t y = 0; y < n; ++y)
      for (std::int64_t x = 0; x < n; ++x) ASSERT_EQ(c.value(y, x), a.value(y, x) * b.value(y, x));
    set.fft_product({a.re(), a.im(), b.re(), b.im(), a.re(), a.im(), n * n});
    for (std::int64_t i = 0; i < 2 * n * n; ++i) ASSERT_EQ(a.parts[i], c.parts[i]);

    const std::vector<T> w = twiddles<T>(set, n);
    set.fft_forward({a.re(), a.im(), n, 1, n / set.lanes, w.data()});
    for (std::int64_t y = 0; y < n; ++y)
      for (std::int64_t x = 0; x < n; ++x) {
        if (x < set.lanes) {
          ASSERT_EQ(a.value(y, x), c.value(y, x));
        } else if (y == 0) {
          ASSERT_NE(a.value(y, x), c.value(y, x));  // the sum of a column
        }
      }
  });
}

// Every row whose elements begin and end anywhere in a matrix of two to sixteen vectors.
TYPED_TEST(Fft, RowsAreLoaded) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    const std::int64_t n = 32;
    Random random(5);
    for (std::int64_t lead = 0; lead <= n; ++lead)
      for (std::int64_t count = 0; lead + count <= n; ++count) {
        Guarded<T> row(static_cast<std::size_t>(count), lead % 2 ? Edge::begin : Edge::end);
        fill_integers(row, random);
        Matrix<T> a{set, n};
        std::fill_n(a.re(), 2 * n * n, std::numeric_limits<T>::quiet_NaN());
        const std::int64_t y = (lead + count) % n;
        set.fft_load({row.data(), lead, count, 0, a.re() + y * set.lanes, n});
        for (std::int64_t x = 0; x < n; ++x) {
          const T expected = x >= lead && x < lead + count ? row[x - lead] : T(0);
          ASSERT_EQ(a.re()[a.at(y, x)], expected) << "lead " << lead << ", count " << count << ", element " << x;
          for (std::int64_t other = 0; other < n; ++other)
            ASSERT_EQ(std::isnan(a.re()[a.at(other, x)]), other != y) << "row " << other;
        }
      }
  });
}

TYPED_TEST(Fft, RowsAreStored) {
  using T = TypeParam;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  for_each_set<T>([](const KernelSet<T>& set) {
    const std::int64_t n = 32, y = 3;
    Random random(6);
    Matrix<T> a{set, n};
    fill_integers(a.parts, random);
    for (std::int64_t count = 1; count <= n; ++count) {
      Guarded<T> row(static_cast<std::size_t>(count), count % 2 ? Edge::begin : Edge::end);
      ASSERT_TRUE(set.fft_store({a.re() + y * set.lanes, n, T(2), row.data(), count})) << count;
      for (std::int64_t x = 0; x < count; ++x) ASSERT_EQ(row[x], a.re()[a.at(y, x)] + T(2)) << count;
      T& spoilt = a.re()[a.at(y, count - 1)];
      const T kept = spoilt;
      for (const T value : {infinity, -infinity, std::numeric_limits<T>::quiet_NaN()}) {
        spoilt = value;
        ASSERT_FALSE(set.fft_store({a.re() + y * set.lanes, n, T(2), row.data(), count})) << count;
      }
      spoilt = kept;
    }
  });
}

TYPED_TEST(Fft, MatricesAreTransposed) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    for (const std::int64_t n : {16, 32, 64}) {
      Matrix<T> a{set, n};
      for (std::int64_t y = 0; y < n; ++y)
        for (std::int64_t x = 0; x < n; ++x) a.re()[a.at(y, x)] = static_cast<T>(y * n + x);
      set.fft_transpose(a.re(), n);
      for (std::int64_t y = 0; y < n; ++y)
        for (std::int64_t x = 0; x < n; ++x) ASSERT_EQ(a.re()[a.at(x, y)], static_cast<T>(y * n + x));
    }
  });
}

}  // namespace
}  // namespace tileconv::test
