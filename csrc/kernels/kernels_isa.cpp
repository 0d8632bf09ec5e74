// All kernels for one instruction set and type of elements. CMake compiles this file once for each pair, with the set's
// flags, TILECONV_ISA_NAME and TILECONV_ELEMENT; the whole content is in an anonymous namespace but for one constant.
#include "kernels.h"

#include <string.h>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define TILECONV_SET_NAME_(isa, element) kernels_##isa##_##element
#define TILECONV_SET_NAME(isa, element) TILECONV_SET_NAME_(isa, element)

namespace tileconv {
namespace {

using Element = TILECONV_ELEMENT;

#include "vec.h"
// Vec comes first: everything below is written in terms of it.
#include "steps.inl.h"
// The loop of register tiles, then those.
#include "channel_rows.inl.h"
#include "dot.inl.h"
#include "pack.inl.h"
#include "plane_rows.inl.h"
#include "shift_gemm.inl.h"
#include "spread.inl.h"
// After those, whose helpers they use.
#include "depthwise.inl.h"
#include "fft.inl.h"
#include "product_sums.inl.h"
#include "stage_narrow.inl.h"
#include "strassen.inl.h"
#include "winograd.inl.h"
// After them: narrow rows, and sums along an axis.
#include "stage.inl.h"
#include "winograd_rows.inl.h"

constexpr TileTable<Element, ChannelLanes> channel_lanes_table;
constexpr TileTable<Element, PixelLanes> pixel_lanes_table;
constexpr TileTable<Element, PixelHalves> pixel_halves_table;
// Half vectors end lines of panels of any height.
static_assert(half_lanes<Element> == 0 || most_rows(most_pixel_halves) >= PixelLanes<Element>::row_limit);
constexpr TileTable<Element, Products> product_table;
constexpr DotTable<Element> dot_table;
constexpr WinogradRowTable<Element> winograd_row_table;

}  // namespace

extern const KernelSet<Element> TILECONV_SET_NAME(TILECONV_ISA_NAME, TILECONV_ELEMENT);
const KernelSet<Element> TILECONV_SET_NAME(TILECONV_ISA_NAME, TILECONV_ELEMENT) = {
    Vec<Element>::lanes,
    half_lanes<Element>,
    steps_a_turn,
    taps_a_turn,
    fetched_lines,
    channel_lanes_table.kernels,
    channel_lanes_table.size,
    pixel_lanes_table.kernels,
    pixel_lanes_table.size,
    pixel_halves_table.kernels,
    pixel_halves_table.size,
    dot_table.kernels,
    dot_table.size,
    plane_table<Element>,
    plane_table_size,
    stage<Element>,
    pack<Element>,
    pixel_blocks<Element>,
    spread<Element>,
    finite<Element>,
    channel_row_table<Element>,
    channel_row_count,
    channel_row_lines,
    channel_products<Element>,
    product_table.kernels,
    product_table.size,
    bundle_table<Element>,
    bundle_table_size,
    winograd_table<Element>,
    winograd_table_size,
    winograd_row_table.kernels,
    winograd_row_table.size,
    strassen_sums<Element, false>,
    strassen_sums<Element, true>,
    sum_pixels<Element>,
    sum_products<Element>,
    fft_most_radix,
    fft_load<Element>,
    fft_store<Element>,
    fft_columns<Element, false>,
    fft_columns<Element, true>,
    fft_transpose<Element>,
    fft_product<Element>,
    fma_loop<Element>,
    fma_per_iteration,
};

}  // namespace tileconv
