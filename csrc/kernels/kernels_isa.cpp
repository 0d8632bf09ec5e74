// All kernels for one instruction set. CMake compiles this file once per set, with that set's flags and
// TILECONV_ISA_NAME; the whole content is in an anonymous namespace but for one constant table.
#include "kernels.h"

#include <string.h>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define TILECONV_TABLE_NAME_(isa) kernels_##isa
#define TILECONV_TABLE_NAME(isa) TILECONV_TABLE_NAME_(isa)
#define TILECONV_STRING_(text) #text
#define TILECONV_STRING(text) TILECONV_STRING_(text)

namespace tileconv {
namespace {

#include "vec.h"
// Vec comes first: everything below is written in terms of it.
#include "steps.inl.h"
// The loop of register tiles, then those.
#include "channel_rows.inl.h"
#include "dot.inl.h"
#include "fft.inl.h"
#include "pack.inl.h"
#include "plane_rows.inl.h"
#include "shift_gemm.inl.h"
#include "stage.inl.h"
// After those, whose helpers they use.
#include "depthwise.inl.h"
#include "product_sums.inl.h"
#include "strassen.inl.h"
#include "winograd.inl.h"
// After it, whose sums along an axis it uses.
#include "winograd_rows.inl.h"

constexpr TileTable<float, ChannelLanes> channel_lanes_f32;
constexpr TileTable<float, PixelLanes> pixel_lanes_f32;
constexpr TileTable<double, ChannelLanes> channel_lanes_f64;
constexpr TileTable<double, PixelLanes> pixel_lanes_f64;
constexpr TileTable<float, Products> products_f32;
constexpr TileTable<double, Products> products_f64;
constexpr DotTable<float> dot_f32;
constexpr DotTable<double> dot_f64;
constexpr WinogradRowTable<float> winograd_rows_f32;
constexpr WinogradRowTable<double> winograd_rows_f64;

}  // namespace

extern const KernelTable TILECONV_TABLE_NAME(TILECONV_ISA_NAME);
const KernelTable TILECONV_TABLE_NAME(TILECONV_ISA_NAME) = {
    TILECONV_STRING(TILECONV_ISA_NAME),
    {Vec<float>::lanes,
     half_lanes<float>,
     steps_a_turn,
     taps_a_turn,
     fetched_lines,
     channel_lanes_f32.kernels,
     channel_lanes_f32.size,
     pixel_lanes_f32.kernels,
     pixel_lanes_f32.size,
     dot_f32.kernels,
     dot_f32.size,
     plane_table<float>,
     plane_table_size,
     stage<float>,
     pack<float>,
     pixel_blocks<float>,
     spread<float>,
     finite<float>,
     channel_row_table<float>,
     channel_row_count,
     channel_row_lines,
     channel_products<float>,
     products_f32.kernels,
     products_f32.size,
     bundle_table<float>,
     bundle_table_size,
     winograd_table<float>,
     winograd_table_size,
     winograd_rows_f32.kernels,
     winograd_rows_f32.size,
     strassen_sums<float, false>,
     strassen_sums<float, true>,
     sum_pixels<float>,
     sum_products<float>,
     fft_columns<float, false>,
     fft_columns<float, true>,
     fft_transpose<float>,
     fft_product<float>,
     fma_loop<float>,
     fma_per_iteration},
    {Vec<double>::lanes,
     half_lanes<double>,
     steps_a_turn,
     taps_a_turn,
     fetched_lines,
     channel_lanes_f64.kernels,
     channel_lanes_f64.size,
     pixel_lanes_f64.kernels,
     pixel_lanes_f64.size,
     dot_f64.kernels,
     dot_f64.size,
     plane_table<double>,
     plane_table_size,
     stage<double>,
     pack<double>,
     pixel_blocks<double>,
     spread<double>,
     finite<double>,
     channel_row_table<double>,
     channel_row_count,
     channel_row_lines,
     channel_products<double>,
     products_f64.kernels,
     products_f64.size,
     bundle_table<double>,
     bundle_table_size,
     winograd_table<double>,
     winograd_table_size,
     winograd_rows_f64.kernels,
     winograd_rows_f64.size,
     strassen_sums<double, false>,
     strassen_sums<double, true>,
     sum_pixels<double>,
     sum_products<double>,
     fft_columns<double, false>,
     fft_columns<double, true>,
     fft_transpose<double>,
     fft_product<double>,
     fma_loop<double>,
     fma_per_iteration},
};

}  // namespace tileconv
