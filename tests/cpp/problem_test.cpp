// ConvProblem::make: sizes against brute force, named paddings, every rejection with its message, and describe().
#include "problem.h"

#include <algorithm>
#include <functional>

#include "test_support.h"

namespace tileconv::test {
namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();

TEST(ConvProblem, OutputSizeIsTheNumberOfWindows) {
  for (std::int64_t size = 0; size <= 9; ++size)
    for (std::int64_t kernel = 1; kernel <= 4; ++kernel)
      for (std::int64_t stride = 1; stride <= 4; ++stride)
        for (std::int64_t dilation = 1; dilation <= 3; ++dilation)
          for (std::int64_t before = 0; before <= 3; ++before)
            for (std::int64_t after = 0; after <= 3; ++after) {
              ConvArguments a = parse("ic2 ih8 oc3 kh3");
              a.input_shape = {1, 2, 8, size};
              a.weight_shape[3] = kernel;
              a.stride[1] = stride;
              a.dilation[1] = dilation;
              a.padding = {0, 0, before, after};
              const std::int64_t padded = size + before + after;
              std::int64_t windows = 0;
              while (windows * stride + dilation * (kernel - 1) < padded) ++windows;
              if (windows == 0) {
                EXPECT_THROW(ConvProblem::make(a), ValueError);
              } else {
                const ConvProblem p = ConvProblem::make(a);
                EXPECT_EQ(p.output_shape(), (std::vector<std::int64_t>{1, 3, 6, windows}));
                EXPECT_EQ(p.macs_per_image(), static_cast<double>(18 * windows * 2 * 3 * kernel));
              }
            }
}

TEST(ConvProblem, NamedPaddings) {
  for (std::int64_t size = 1; size <= 9; ++size)
    for (std::int64_t kernel = 1; kernel <= 4; ++kernel)
      for (std::int64_t dilation = 1; dilation <= 3; ++dilation)
        for (std::int64_t stride = 1; stride <= 4; ++stride) {
          const std::int64_t span = dilation * (kernel - 1) + 1;
          const auto make = [&](const char* name) {
            ConvArguments a = parse("ic1 ih20 oc1 kh1");
            a.input_shape[2] = size, a.weight_shape[2] = kernel, a.stride[0] = stride, a.dilation[0] = dilation;
            a.padding = {9, 9, 9, 9};  // a name wins
            a.padding_name = name;
            return ConvProblem::make(a);
          };
          if (span <= size) {
            const ConvProblem valid = make("valid");
            EXPECT_EQ(valid.pad_top + valid.pad_bottom + valid.pad_left + valid.pad_right, 0);
          }
          const ConvProblem upper = make("same_upper"), lower = make("same_lower");
          const std::int64_t total = upper.pad_top + upper.pad_bottom;
          EXPECT_EQ(upper.out_h, (size + stride - 1) / stride);
          EXPECT_TRUE(total == 0 || (upper.out_h - 1) * stride + span == size + total) << "more padding than needed";
          EXPECT_TRUE(upper.pad_bottom - upper.pad_top == total % 2) << "an odd element goes to the end";
          EXPECT_EQ(lower.pad_top, upper.pad_bottom);
          EXPECT_EQ(lower.pad_bottom, upper.pad_top);
          if (stride == 1) {
            const ConvProblem same = make("same");
            EXPECT_EQ(same.out_h, size);
            EXPECT_EQ(same.pad_top + same.pad_bottom, span - 1);
            EXPECT_TRUE(same.pad_bottom - same.pad_top == (span - 1) % 2);
          }
        }
}

TEST(ConvProblem, UnbatchedInputIsABatchOfOne) {
  ConvArguments a = parse("ic2 ih8 oc3 kh3");
  a.input_shape = {2, 8, 8};
  const ConvProblem p = ConvProblem::make(a);
  EXPECT_FALSE(p.batched);
  EXPECT_EQ(p.batch, 1);
  EXPECT_EQ(p.output_shape(), (std::vector<std::int64_t>{3, 6, 6}));
}

TEST(ConvProblem, EmptyBatchesAndSizesAreLegal) {
  EXPECT_EQ(make_problem("b0 ic2 ih8 oc3 kh3").output_shape(), (std::vector<std::int64_t>{0, 3, 6, 6}));
  EXPECT_EQ(make_problem("ic2 ih0 oc3 kh3 p2").output_shape(), (std::vector<std::int64_t>{1, 3, 2, 2}));
}

TEST(ConvProblem, LargestPaddingOfEachModeIsTaken) {
  for (const char* line :
       {"ic1 ih5 oc1 kh1 p4 reflect", "ic1 ih5 oc1 kh1 p5 circular", "ic1 ih5 oc1 kh1 p500 symmetric",
        "ic1 ih5 oc1 kh1 p500 replicate", "ic1 ih5 oc1 kh1 p500 zeros"})
    EXPECT_NO_THROW(make_problem(line)) << line;
}

// A change to the arguments of "b2 ic6 ih9 iw8 oc4 kh3 p1 g2 bias", and what the error must say.
struct Rejection {
  bool type_error;
  std::function<void(ConvArguments&)> change;
  std::vector<std::string> message;
};

const Rejection rejections[] = {
    {true, [](auto& a) { a.input_dtype = "int32"; }, {"input", "int32", "float32 or float64"}},
    {true, [](auto& a) { a.weight_dtype = "complex64"; }, {"weight", "complex64", "float32 or float64"}},
    {true, [](auto& a) { a.weight_dtype = "float64"; }, {"weight", "float64", "float32"}},
    {true, [](auto& a) { a.bias_dtype = "float64"; }, {"bias", "float64", "float32"}},
    {true, [](auto& a) { a.bias_dtype = "object"; }, {"bias", "object", "float32 or float64"}},
    {false, [](auto& a) { a.input_shape = {9, 8}; }, {"input", "4 dimensions", "got 2", "(9, 8)"}},
    {false, [](auto& a) { a.input_shape = {1, 2, 6, 9, 8}; }, {"input", "4 dimensions", "got 5"}},
    {false, [](auto& a) { a.input_shape[2] = -9; }, {"input", "negative", "at least 0", "(2, 6, -9, 8)"}},
    {false, [](auto& a) { a.input_shape[1] = 0; }, {"input", "at least 1 channel", "(2, 0, 9, 8)"}},
    {false, [](auto& a) { a.weight_shape = {4, 3, 3}; }, {"weight", "4 dimensions", "got 3", "(4, 3, 3)"}},
    {false, [](auto& a) { a.weight_shape[3] = -3; }, {"weight", "negative", "at least 0", "(4, 3, 3, -3)"}},
    {false, [](auto& a) { a.weight_shape[3] = 0; }, {"weight", "at least 1", "(4, 3, 3, 0)"}},
    {false, [](auto& a) { a.weight_shape[0] = 0; }, {"weight", "at least 1", "(0, 3, 3, 3)"}},
    {false, [](auto& a) { a.weight_shape[1] = 6; }, {"weight", "6 channels", "groups=2", "expected 3"}},
    {false, [](auto& a) { a.bias_shape = {5}; }, {"bias", "(5,)", "(4,)"}},
    {false, [](auto& a) { a.bias_shape = {4, 1}; }, {"bias", "(4, 1)", "(4,)"}},
    {false, [](auto& a) { a.stride[1] = 0; }, {"stride", "(1, 0)", "at least 1"}},
    {false, [](auto& a) { a.stride[0] = -2; }, {"stride", "(-2, 1)", "at least 1"}},
    {false, [](auto& a) { a.dilation[0] = 0; }, {"dilation", "(0, 1)", "at least 1"}},
    {false, [](auto& a) { a.padding[2] = -1; }, {"padding", "(1, 1, -1, 1)", "at least 0"}},
    {false, [](auto& a) { a.padding_name = "full"; }, {"padding", "'full'", "'same_lower'"}},
    {false, [](auto& a) { a.padding_name = "same", a.stride[1] = 2; }, {"padding='same'", "stride 1", "(1, 2)"}},
    {false, [](auto& a) { a.padding_mode = "mirror"; }, {"padding_mode", "'mirror'", "'reflect'"}},
    {false,
     [](auto& a) { a.padding_mode = "reflect", a.padding[0] = 9; },
     {"padding of 9", "'reflect'", "less than", "height of 9"}},
    {false,
     [](auto& a) { a.padding_mode = "circular", a.padding[3] = 9; },
     {"padding of 9", "'circular'", "at most", "width of 8"}},
    {false,
     [](auto& a) { a.padding_mode = "replicate", a.input_shape[2] = 0; },
     {"input", "height 0", "'replicate'", "at least 1"}},
    {false, [](auto& a) { a.input_shape[2] = 0, a.padding = {}; }, {"input", "height 0", "at least 1"}},
    {false, [](auto& a) { a.weight_shape[3] = 11; }, {"kernel spans 11", "width", "at most", "10"}},
    {false, [](auto& a) { a.dilation[0] = 6; }, {"kernel spans 13", "height", "dilation 6", "11"}},
    {false, [](auto& a) { a.groups = 0; }, {"groups", "at least 1", "got 0"}},
    {false, [](auto& a) { a.groups = -2; }, {"groups", "at least 1", "got -2"}},
    {false, [](auto& a) { a.groups = 4; }, {"groups=4", "in_channels=6"}},
    {false, [](auto& a) { a.groups = 3; }, {"groups=3", "out_channels=4"}},
    // What leaves 64 bits.
    {false, [](auto& a) { a.input_shape[0] = huge; }, {"input", std::to_string(huge), "64-bit"}},
    {false, [](auto& a) { a.input_shape[3] = huge; }, {"out of range"}},
    {false, [](auto& a) { a.input_shape[3] = huge, a.padding_name = "same_upper"; }, {"out of range"}},
    {false, [](auto& a) { a.padding[0] = huge; }, {"padding", std::to_string(huge), "out of range"}},
    {false, [](auto& a) { a.padding[1] = huge / 8, a.padding[3] = huge / 8; }, {"output", "64-bit"}},
    {false, [](auto& a) { a.dilation[1] = huge; }, {"dilation", std::to_string(huge), "out of range"}},
    {false,
     [](auto& a) { a.dilation[1] = huge, a.padding_name = "same"; },
     {"dilation", std::to_string(huge), "out of range"}},
};

TEST(ConvProblem, RejectsWithTheArgumentTheValueAndTheExpectation) {
  int row = 0;
  for (const Rejection& rejection : rejections) {
    ConvArguments a = parse("b2 ic6 ih9 iw8 oc4 kh3 p1 g2 bias");
    rejection.change(a);
    std::string message;
    bool type_error = false;
    try {
      ConvProblem::make(a);
    } catch (const TypeError& error) {
      message = error.what(), type_error = true;
    } catch (const ValueError& error) {
      message = error.what();
    }
    EXPECT_FALSE(message.empty()) << "row " << row << " was taken";
    EXPECT_EQ(type_error, rejection.type_error) << "row " << row << ": " << message;
    for (const std::string& part : rejection.message)
      EXPECT_NE(message.find(part), std::string::npos) << "row " << row << ": no \"" << part << "\" in: " << message;
    ++row;
  }
}

TEST(ConvProblem, ABiasThatIsNotThereIsNotChecked) {
  ConvArguments a = parse("ic2 ih5 oc3 kh1");
  a.bias_shape = {99};
  EXPECT_NO_THROW(ConvProblem::make(a));
}

TEST(ConvProblem, DescribesItselfInOneLine) {
  for (const std::string line : {
           "b1 ic64 ih56 oc64 kh3 p1 f32 zeros",
           "b2 ic3 ih224 iw200 oc64 kh7 s2 p3 f64 reflect",
           "b0 ic6 ih9 oc4 kh3 kw2 sh2 sw3 pt1 pb0 pl2 pr1 d2 g2 f32 circular",
           "b1 ic1 ih9 oc1 kh1 kw5 ph0 pw2 dh1 dw2 f64 symmetric",
           "b7 ic8 ih0 iw9 oc8 kh3 p2 g8 f32 zeros",
       })
    EXPECT_EQ(make_problem(line).describe(), line);
}

}  // namespace
}  // namespace tileconv::test
