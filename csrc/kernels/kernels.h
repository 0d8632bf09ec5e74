// The kernels as data: the argument structs, and the set that each instruction set exports for a type of elements.
//
// kernels_isa.cpp is compiled once for each of these pairs and exports ONE symbol, a constant KernelSet. Nothing else
// of those objects is visible, so code compiled for AVX-512 can never be linked into the baseline. Algorithms read the
// sets; tests and benchmarks iterate them. Kernels own nothing, allocate nothing, throw nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tileconv {

// One kernel tap of a shifted GEMM: where its input and its weights lie, in elements from the step's base.
struct Tap {
  std::ptrdiff_t input;
  std::ptrdiff_t weight;
};

// One register tile of a shifted GEMM. For out channel m and pixel p of the tile
//
//   sum[m][p] = start[m][p] + sum over s < steps, t < tap_count (in this order, one running sum) of
//               weight(m)[s * weight_step + taps[t].weight] * input[at(p) + s * input_step + taps[t].input]
//
// at(p) = p; with channel lanes, the upper half of an even number of pixels may lie `input_gap` further: a second row.
// Both orientations compute this formula with the same order of additions, so they give the same bits.
//   channel lanes: vectors run over out channels. weight(m) = weights + m (packed, 64-byte aligned vectors), pixels are
//     broadcast. The output is transposed in registers on the way out.
//   pixel lanes: vectors run over pixels. weight(m) = weights + m * weight_row (any layout: read in place), weights are
//     broadcast.
// start is `partial_in` if set, else bias[m], else 0. The sums go to `partial_out` if set, else to `out`; with pixel
// lanes vector by vector in ascending order, so that what one writes too much may be overwritten by the next. Partial
// sums are kept as the vectors come, row m at m * partial_row (at least all vectors of a row); they may be updated in
// place.
//
// Pixel lanes, without partial sums: `further` tiles more, each a `next` further on. Where sums are short, a call costs
// as much as a tenth of a tile.
template <class T>
struct GemmArgs {
  const T* input;
  const T* weights;
  const Tap* taps;
  std::int64_t tap_count;
  std::int64_t steps;
  std::ptrdiff_t input_step;
  std::ptrdiff_t input_gap;  // channel lanes only
  std::ptrdiff_t weight_step;
  std::ptrdiff_t weight_row;  // pixel lanes only
  // Fetched into L2. Channel lanes: what lies from here on, prefetch_step elements for each turn (KernelSet). Pixel
  // lanes of a single tap: a cache line for each step, prefetch_step elements from one to the next; and by each further
  // tile the lines that follow. Where steps are short, nothing.
  const T* prefetch;
  std::ptrdiff_t prefetch_step;
  const T* bias;  // channel lanes: padded to whole vectors
  const T* partial_in;
  T* partial_out;
  std::ptrdiff_t partial_row;
  T* out;  // channel lanes: out[m * out_channel_stride + p]
  std::ptrdiff_t out_channel_stride;
  const std::ptrdiff_t* out_vectors;  // pixel lanes: vector v goes to out + m * out_channel_stride + out_vectors[v]
  std::int64_t out_channels;          // channel lanes: how many lanes are real
  std::int64_t out_room;              // channel lanes: elements of an out channel that may be overwritten (>= pixels)
  bool fetch_out;  // before the sums, both ends of each row of `out` are brought to L1, where stores would wait
  std::int64_t further;
  struct {
    std::ptrdiff_t input, weights, bias, out;
  } next;
};

constexpr int most_pixel_vectors = 8;  // of a register tile
constexpr int most_pixel_halves = 3;   // of one at the end of a line
template <class T>
struct GemmKernel {
  int rows;     // channel lanes: pixels; pixel lanes: out channels
  int vectors;  // channel lanes: of out channels; pixel lanes: of pixels
  void (*single_tap)(const GemmArgs<T>&) noexcept;
  void (*taps)(const GemmArgs<T>&) noexcept;  // of any number but one
  void run(const GemmArgs<T>& a) const noexcept { (a.tap_count == 1 ? single_tap : taps)(a); }
};

// Sums of products over pixels, for weight gradients of few channels. For m < rows and n < columns of the kernel
//   out[m * out_row + n] += sum over y < height, x < width of
//                           grad[m * grad_channel + y * grad_row + x] * input[offsets[n] + y * input_row + x]
// Vectors run over x; lanes behind `width` are neither read nor added.
template <class T>
struct DotArgs {
  const T* grad;
  std::ptrdiff_t grad_channel;
  std::ptrdiff_t grad_row;
  const T* input;
  const std::ptrdiff_t* offsets;
  std::ptrdiff_t input_row;
  std::int64_t height;
  std::int64_t width;
  T* out;
  std::ptrdiff_t out_row;
};

template <class T>
struct DotKernel {
  int rows;
  int columns;
  void (*run)(const DotArgs<T>&) noexcept;
};

// Planes of input to planes of output, all alike. For p < planes, y < height, x < width
//   out[p * out_plane + out_rows[y] + x] = bias[p] + sum over j < kernel_w, i < kernel_h, in an order of the kernel, of
//       weights[(p * kernel_h + i) * kernel_w + j] * row(p, y * stride_h + i)[x * stride_w + columns[j]]
//   row(p, q) = rows[q] == no_row ? zeros : input + p * input_plane + rows[q]
// A kernel with a width of its own adds row after row. It reads adjacent columns, with stride_w + 1 adjacent loads from
// columns[0] on for each vector of outputs; the others with stride_w loads from columns[j] on for each tap j, lanes - 1
// elements apart, so that a pair spans the elements of a stride of 2. Vectors of outputs at x in [inner_begin,
// inner_end) find all of these in the image. Of any other, load l of `loads` has the lanes[x / lanes * loads + l]
// there; the rest counts as zero, and its memory is not touched; a half vector at the end of a row has its loads within
// those. A kernel with a most_width loads the rows of two planes into the halves of a vector, of a stride the elements
// that leave one remainder by it after the other, and takes the columns from there: lanes[j] are those of the outputs
// for which tap j reads the image, for both halves. Kernels may fetch what lies `ahead` of the rows that they read.
// Output rows do not overlap. `rows` has row_count entries, as many as a pass of outputs reads even if there are fewer;
// twice as many pointers find room in `scratch`.
using LaneBits = std::uint16_t;  // bit i for lane i
template <class T>
struct PlaneArgs {
  const T* input;
  std::ptrdiff_t input_plane;
  const std::ptrdiff_t* rows;
  std::int64_t row_count;
  void* scratch;
  const T* zeros;
  const std::ptrdiff_t* columns;
  const T *weights, *bias;  // bias: nullptr for none
  T* out;
  std::ptrdiff_t out_plane;
  const std::ptrdiff_t* out_rows;
  std::int64_t planes, height, width, in_width;
  std::int64_t kernel_h, kernel_w, stride_h;
  bool columns_first;  // the order of a sum, for kernels that take any stride: j outside, or i
  std::int64_t inner_begin, inner_end;
  const LaneBits* lanes;
  std::int64_t loads;
  std::ptrdiff_t ahead;
};
constexpr std::ptrdiff_t no_row = PTRDIFF_MIN;

template <class T>
struct PlaneKernel {
  int kernel_h, kernel_w, stride_h;  // 0: any
  int stride_w;
  int rows;          // of outputs in a pass
  int further_rows;  // that a call computes too, of a kernel that goes row by row; another has the same sums in passes
  int least_width;   // of rows of outputs, below which others are faster
  int most_width;    // of rows of outputs, stride_w times that of input: then two planes go into a vector; 0: any
  bool fetches;      // what is ahead
  void (*run)(const PlaneArgs<T>&) noexcept;
  bool rolls() const { return further_rows > 0; }
  bool paired() const { return most_width > 0; }
};

// A run of staged elements: positions [position, position + length) are `lead` zeros, then `count` elements from source
// on in steps of `step`, then zeros.
struct StagePiece {
  std::int64_t position;
  std::int64_t length;
  std::int64_t lead;
  std::int64_t count;
  std::int64_t source;
  std::int64_t step;
};

// Stages rows of every channel: row r of channel c = destination + c * destination_channel + r * destination_row, as if
// filled piece by piece in order of position. A piece may be overrun by up to one vector, as may what lies between
// pieces: behind a row there is that much room, or the next rows of its channel, which are filled after it. Strides of
// the source are in bytes: it may be any view, unaligned too. source == nullptr: the rows are zeros, row_length of
// them.
template <class T>
struct StageArgs {
  T* destination;
  std::ptrdiff_t destination_channel;
  const char* source;
  std::ptrdiff_t source_channel;
  std::ptrdiff_t source_element;
  std::int64_t channels;
  const StagePiece* pieces;
  std::int64_t piece_count;
  std::int64_t row_length;
  std::int64_t rows = 1;
  std::ptrdiff_t destination_row = 0, source_row = 0;
};

// Copies rows x columns of `source` into destination[column * destination_column + row]: a transposition where columns
// are adjacent in the source, runs of rows where rows are (source_row == 1); any other layout goes element by element.
// Rows from `rows` to `padded_rows` are zeros; nothing else is written. Where run_columns is not 0, the columns are
// runs of so many: column c is written run_step further for each run before its own.
template <class T>
struct PackArgs {
  const T* source;
  std::ptrdiff_t source_row;
  std::ptrdiff_t source_column;
  std::int64_t rows;
  std::int64_t padded_rows;
  std::int64_t columns;
  T* destination;
  std::ptrdiff_t destination_column;
  std::int64_t run_columns = 0;
  std::ptrdiff_t run_step = 0;
};

// Rows of outputs of one plane for each lane. For y < height, x < width
//   out[y * out_row + x * out_column] = bias + sum over i < kernel_h, j < kernel_w (in this order, one running sum) of
//       weights[i * weight_row + j * lanes] * input[y * input_row + x * input_column + i * tap_row + j * tap_column]
// All of these are vectors, one for each pixel and each tap. Columns may run backwards. Adjacent taps share pixels: for
// output x tap j reads pixel x + j of the row. Outside of [inside_begin, inside_end) pixels are padding: what they
// would add, zeros, is left out. Taps that are not adjacent read all.
template <class T>
struct ChannelRowArgs {
  const T* input;
  std::ptrdiff_t input_row, input_column, tap_row, tap_column;
  std::int64_t kernel_h, kernel_w;
  const T* weights;
  std::ptrdiff_t weight_row;
  const T* bias;
  T* out;
  std::ptrdiff_t out_row, out_column;
  std::int64_t height, width;
  std::int64_t inside_begin, inside_end;
};

template <class T>
struct ChannelRowKernel {
  int kernel_w;   // best for; 0: any
  bool adjacent;  // expects tap_column == input_column
  void (*run)(const ChannelRowArgs<T>&) noexcept;
};

// Sums over the pixels of a tile, a vector for each tap t: out[t] += sum over y < height, x < width of
//   grad[y * width + x] * input[y * input_row + x * input_column + taps[t]]
// Each call's sum is taken by itself, then added.
template <class T>
struct ChannelProductArgs {
  const T* input;
  std::ptrdiff_t input_row, input_column;
  const std::ptrdiff_t* taps;
  std::int64_t tap_count;
  const T* grad;
  std::int64_t height, width;
  T* out;
};

// Winograd's algorithm on windows of 6 x 6, or of 6 along the one axis on which the kernel has more than one tap; one
// vector of channels at a time (the transforms are in winograd.inl.h). Of the products of a tile, position p = row *
// window_w + column lies p * ..._position elements from the first.
constexpr int winograd_window_size = 6;
constexpr int winograd_most_taps = 5;
// Along one axis.
constexpr int winograd_window(int taps) noexcept { return taps == 1 ? 1 : winograd_window_size; }
constexpr int winograd_outputs(int taps) noexcept { return taps == 1 ? 1 : winograd_window_size + 1 - taps; }

template <class T>
struct WinogradInputArgs {
  const T* input;
  std::ptrdiff_t input_row, input_column;
  T* out;
  std::ptrdiff_t out_position, out_tile;
  std::int64_t tiles;
};

// Where a further piece of the sums of a product finds its factors, in elements from those of the first.
struct ProductPiece {
  std::ptrdiff_t rows, columns;
};

// The products of a position, a plain matrix product, or of several: of a register tile, for row m and column n <
// vectors * lanes of the kernel
//   out[m * out_row + n] = (accumulate ? out[m * out_row + n] : 0) + sum over p <= further, s < steps of
//       rows[piece(p).rows + m * row + s * row_step] * columns[piece(p).columns + s * column_step + n]
// with the first piece at 0, and piece(p) = pieces[p - 1].
// Many steps are best cut in chunks: each is summed by itself first, and rounding errors grow with the chunk rather
// than the whole. What lies from `prefetch` on is fetched into L2, prefetch_step elements for each turn (KernelSet).
// Then come further_tiles more, `rows` and `out` each time moved on by `next`: a call for each would take two steps
// longer. And then all of it for further_products more positions, moved on by `next_product` from the last register
// tile: between short sums the way in and out of a call would show, 60 cycles.
// Kernels of a bundle of groups that are narrower than a vector: a row is a vector of the in channels of all of them,
// whose out channels are the columns, and column n reads rows[m * row + elements[s * lanes + n]] in step s, the in
// channel s of its group. They have a single piece and chunk.
template <class T>
struct ProductArgs {
  const T* rows;
  std::ptrdiff_t row, row_step;
  const T* columns;
  std::ptrdiff_t column_step;
  std::int64_t steps;  // of a piece
  const ProductPiece* pieces;
  std::int64_t further;
  const T* prefetch;
  std::ptrdiff_t prefetch_step;
  bool accumulate;
  T* out;
  std::ptrdiff_t out_row;
  std::int64_t further_tiles;
  struct {
    std::ptrdiff_t rows, out;
  } next;
  std::int64_t further_products;
  struct {
    std::ptrdiff_t rows, columns, out;
  } next_product;
  const std::int32_t* elements;
};

template <class T>
struct ProductKernel {
  int rows, vectors;
  void (*run)(const ProductArgs<T>&) noexcept;         // of a single piece
  void (*run_pieces)(const ProductArgs<T>&) noexcept;  // of any number
};

// The sums of a row of tiles to outputs: (y, x) of tile t is the vector out + t * out_tile + y * out_row + x *
// out_column for y < outputs_h, x < outputs_w. Outputs may overlap where what a row of a tile writes beyond its own
// belongs to the same or a later row of a later tile: then that is what stays.
template <class T>
struct WinogradOutputArgs {
  const T* input;
  std::ptrdiff_t input_position, input_tile;
  const T* bias;  // a vector
  T* out;
  std::ptrdiff_t out_row, out_column, out_tile;
  std::int64_t tiles;
};

// Kernels of `channels` in channels, for a vector of out channels: element (i, j) of the first is the vector
// weights + tap_at[taps_w * i + j], or zeros where that offset is negative.
template <class T>
struct WinogradWeightArgs {
  const T* weights;
  const std::ptrdiff_t* tap_at;
  std::ptrdiff_t weight_channel;
  T* out;
  std::ptrdiff_t out_position, out_channel;
  std::int64_t channels;
};

template <class T>
struct WinogradKernel {
  int taps_h, taps_w;
  void (*input)(const WinogradInputArgs<T>&) noexcept;
  bool (*output)(const WinogradOutputArgs<T>&) noexcept;  // whether all outputs are finite, and sums of two of them
  void (*weights)(const WinogradWeightArgs<T>&) noexcept;
  int outputs_h() const noexcept { return winograd_outputs(taps_h); }
  int outputs_w() const noexcept { return winograd_outputs(taps_w); }
  int window_h() const noexcept { return winograd_window(taps_h); }
  int window_w() const noexcept { return winograd_window(taps_w); }
  int positions() const noexcept { return window_h() * window_w(); }
};

// Winograd's algorithm F(m, r) down the columns alone, with pixels in the lanes and n = m + r - 1 points. The windows
// of a row of tiles are n rows of the input for each channel: position p of channel c becomes
//   out[c * out_channel + p * out_position + x % turns * out_turn + x / turns] =
//       sum over i < n of B[i][p] * rows[i][c * row_channel[i] + x]
// for x < columns, which take turns: as many as the step between outputs, 1 or 2. Nothing else is read; whole vectors
// are written, at the end perhaps a half one if there is a single turn.
constexpr int winograd_most_points = 8;
template <class T>
struct WinogradRowWindowArgs {
  const T* rows[winograd_most_points];
  std::ptrdiff_t row_channel[winograd_most_points];
  std::int64_t channels, columns;
  T* out;
  std::ptrdiff_t out_channel, out_position, out_turn;
};
constexpr int winograd_row_turns = 2;

// How many taps follow each other: whole ones; those whose last row is zero, and so the product of infinity; those
// whose first row is, and so the product of point 0. Products that are zero are left out.
struct WinogradRowTaps {
  std::int64_t whole, last_zero, first_zero;
};

// A row of tiles of some out channels: of its m rows of outputs the first `rows` are written. For k < channels of the
// kernel, x < width
//   out[k * out_channel + i * out_row + x] = bias[k] + sum over p < n of A[p][i] * sum over c < in_channels,
//       t < count of weights[((c * count + t) * n + p) * channels + k] *
//                        input[c * in_channel + p * position + taps[t] + x]
// where the `count` taps are of kinds[0 .. kinds_count), one after the other; kinds_count > 0. bias: nullptr for none.
// Whole vectors of the input are read, one if the width is less, and a half one if no more is left; but not for
// products that are left out. Rows of at least a vector, or a half one, are written in such, the last one moved back to
// where the row ends.
template <class T>
struct WinogradRowArgs {
  const T* input;
  std::ptrdiff_t in_channel, position;
  const std::ptrdiff_t* taps;
  const WinogradRowTaps* kinds;
  std::int64_t kinds_count, in_channels;
  const T *weights, *bias;
  T* out;
  std::ptrdiff_t out_channel, out_row;
  std::int64_t rows, width;
};

// Windows: of columns that take 1, 2 turns. Weights: of kernels of a single column, as for WinogradKernel.
template <class T>
struct WinogradRowKernel {
  int points, taps, channels;
  void (*windows[winograd_row_turns])(const WinogradRowWindowArgs<T>&) noexcept;
  void (*weights)(const WinogradWeightArgs<T>&) noexcept;
  bool (*run)(const WinogradRowArgs<T>&) noexcept;  // whether all outputs are finite, of all m rows
  int outputs() const noexcept { return points + 1 - taps; }
};

// Sums of the four blocks 11, 12, 21, 22 of a matrix for Strassen's algorithm, element by element, for `rows` x
// `columns` of each: of the input, T4, T1, T2, T3 of strassen.inl.h go to out, out + out_sum, ..; of the weights, S1,
// S2, S3, S4. Nothing else than the blocks is read; whole vectors are written. A sum may take the place of a block.
template <class T>
struct StrassenSumArgs {
  const T* block[4];
  std::ptrdiff_t block_row;
  T* out;
  std::ptrdiff_t out_sum, out_row;
  std::int64_t rows, columns;
};

// Pixels of some channels: out[c * out_channel + i] = sum over k < count of source[k][c * source_channel + i], for c <
// channels, i < pixels > 0. Nothing else than the pixels is read; whole vectors are written, in an order in which the
// channels may be as close as `pixels` in the output.
template <class T>
struct PixelSumArgs {
  const T* source[4];
  int count;  // 1, 2 or 4
  std::ptrdiff_t source_channel;
  T* out;
  std::ptrdiff_t out_channel;
  std::int64_t channels, pixels;
};

// Outputs as sums of products, which are matrices with a vector of out channels for every pixel, rows product_row
// apart:
//   out[c * out_row + x] = bias[c] + sum over k < count of product[k][x * product_row + c]
// for x < pixels, c < channels; nothing else is written. next_out: what will be written next, as many pixels of as many
// channels, is brought to L1; or nullptr. All lanes of the vectors count as outputs where they are not finite.
template <class T>
struct ProductSumArgs {
  const T* product[4];
  int count;  // 1, 2 or 4
  std::ptrdiff_t product_row;
  std::int64_t pixels;
  const T* bias;  // a vector
  T* out;
  std::ptrdiff_t out_row;
  std::int64_t channels;
  const T* next_out;
};

// The stages of a Fourier transform: one of `length` elements, a power of 2, begins with a stage of this radix, whose
// parts go on in the same way. Few stages are few passes over memory: where registers allow for radix 8 (`most`), it
// follows up to two stages of radix 4; else there is one of radix 2 at the end of those of radix 4, or none.
constexpr int fft_radix(std::int64_t length, int most) noexcept {
  if (most < 8) return length < 4 ? 2 : 4;
  while (length > 8) length /= 8;
  return length == 8 ? 8 : 4;
}

// The Fourier transforms of the columns in panels [panel_begin, panel_end) of a complex n x n matrix, in place; n is a
// power of 2 from `lanes` and 4 on. Panels are `lanes` adjacent columns, one row after the other: element (y, x) of
// either part lies at (x / lanes * n + y) * lanes + x % lanes. Forward, exp(-2 pi i y k / n), leaves the rows in an
// order of its own; backward takes them in this order and is n times the inverse. twiddles: for each stage, from length
// n on, of radix R = fft_radix(length, KernelSet::fft_most_radix), for j < length / R, q = 1 .. R - 1: cosine and sine
// of -2 pi j q / length.
template <class T>
struct FftArgs {
  T *re, *im;
  std::int64_t n, panel_begin, panel_end;
  const T* twiddles;
};

// A row of such a part, of n elements, whose vectors are n * lanes apart from `matrix` on. fft_load: element x is
// row[x - lead] for lead <= x < lead + count, else 0; nothing else of the row is read. The same of the row that lies
// `next` elements behind is fetched. fft_store: row[x] = element x + bias for x < count; whether all are finite, those
// of the last vector too.
template <class T>
struct FftLoadArgs {
  const T* row;
  std::int64_t lead, count;
  std::ptrdiff_t next;
  T* matrix;
  std::int64_t n;
};
template <class T>
struct FftStoreArgs {
  const T* matrix;
  std::int64_t n;
  T bias;
  T* row;
  std::int64_t count;
};

// `count` complex products, a multiple of the lanes.
template <class T>
struct FftProductArgs {
  const T *a_re, *a_im, *b_re, *b_im;
  T *to_re, *to_im;
  std::int64_t count;
};

// Rows of pixels in blocks of so many vectors, each with its pixels of one channel behind those of the other. With
// size = width * lanes, for c < channels, i < pixels
//   out[i / size * out_block + c * size + i % size] = source[c * source_channel + i]
// Nothing else than the pixels is read; zeros fill the last vector.
template <class T>
struct PixelBlockArgs {
  const T* source;
  std::ptrdiff_t source_channel;
  T* out;
  std::ptrdiff_t out_block;
  std::int64_t channels, pixels;
  std::int64_t width;  // at most most_pixel_vectors
};

// to[r * to_row + i * to_element] = from[r * from_row + i] for r < rows, i < count; what lies between is not touched.
template <class T>
struct SpreadArgs {
  const T* from;
  std::ptrdiff_t from_row;
  std::int64_t rows, count;
  T* to;
  std::ptrdiff_t to_row, to_element;
};

template <class T>
struct KernelSet {
  int lanes;
  int half_lanes;  // of half a vector, which kernels of rows of pixels may take at the end of one; 0: they do not
  // Steps of a register tile's sums that are taken in one turn of their loop, of a single tap; taps of a step that are,
  // where there are several. What is left over is no turn.
  int steps_a_turn, taps_a_turn;
  int fetched_lines;                                     // cache lines that a turn of the products asks for
  bool short_steps() const { return steps_a_turn > 1; }  // what is not a multiply-add or a load shows
  const GemmKernel<T>* channel_lanes;
  int channel_lanes_count;
  const GemmKernel<T>* pixel_lanes;
  int pixel_lanes_count;
  const GemmKernel<T>* pixel_halves;  // pixel lanes in 1 and 3 vectors of half_lanes; without these, of no use
  int pixel_halves_count;
  const DotKernel<T>* dot;  // for every count of rows, columns 1, 2, .. up to what registers hold
  int dot_count;
  const PlaneKernel<T>* plane;  // the last one takes any
  int plane_count;
  void (*stage)(const StageArgs<T>&) noexcept;
  void (*pack)(const PackArgs<T>&) noexcept;
  void (*pixel_blocks)(const PixelBlockArgs<T>&) noexcept;
  void (*spread)(const SpreadArgs<T>&) noexcept;
  // Whether `count` adjacent values are finite: what decides if products with zero padding may be left out. Whole
  // vectors are aligned to elements, fewer values than that to nothing.
  bool (*finite)(const char* values, std::int64_t count) noexcept;
  const ChannelRowKernel<T>* channel_row;  // the last one takes any
  int channel_row_count;
  int channel_row_lines;  // rows that they compute together
  void (*channel_products)(const ChannelProductArgs<T>&) noexcept;
  const ProductKernel<T>* product;  // for every count of vectors, rows 1, 2, .. up to what registers hold
  int product_count;
  const ProductKernel<T>* bundle_product;  // of one vector, rows 1, 2, .. up to what registers hold
  int bundle_product_count;
  const WinogradKernel<T>* winograd;  // r x r, r x 1 and 1 x r taps, r = 2, 3, 4, 5
  int winograd_count;
  // 6 points with r = 2, 3, 4 taps, 8 with 5, for each 1, 2, .. channels up to what registers hold.
  const WinogradRowKernel<T>* winograd_rows;
  int winograd_rows_count;
  void (*strassen_input)(const StrassenSumArgs<T>&) noexcept;
  void (*strassen_weights)(const StrassenSumArgs<T>&) noexcept;
  void (*sum_pixels)(const PixelSumArgs<T>&) noexcept;
  bool (*sum_products)(const ProductSumArgs<T>&) noexcept;  // whether all outputs are finite
  int fft_most_radix;
  void (*fft_load)(const FftLoadArgs<T>&) noexcept;
  bool (*fft_store)(const FftStoreArgs<T>&) noexcept;
  void (*fft_forward)(const FftArgs<T>&) noexcept;
  void (*fft_backward)(const FftArgs<T>&) noexcept;
  void (*fft_transpose)(T* matrix, std::int64_t n) noexcept;
  void (*fft_product)(const FftProductArgs<T>&) noexcept;
  // Issues `iterations` * fma_per_iteration independent multiply-adds on vectors of `lanes`.
  void (*fma_loop)(std::int64_t iterations) noexcept;
  int fma_per_iteration;
};

// Objects of kernels_isa.cpp.
extern const KernelSet<float> kernels_baseline_float;
extern const KernelSet<double> kernels_baseline_double;
#ifdef TILECONV_X86
extern const KernelSet<float> kernels_avx2_float, kernels_avx512_float;
extern const KernelSet<double> kernels_avx2_double, kernels_avx512_double;
#endif

// An instruction set; those that are built are listed in cpu.cpp.
struct KernelTable {
  const char* isa;
  const KernelSet<float>& f32;
  const KernelSet<double>& f64;
};

extern const KernelTable kernels_baseline;
#ifdef TILECONV_X86
extern const KernelTable kernels_avx2, kernels_avx512;
#endif

template <class T>
const KernelSet<T>& kernel_set(const KernelTable& table) noexcept;
template <>
inline const KernelSet<float>& kernel_set<float>(const KernelTable& table) noexcept {
  return table.f32;
}
template <>
inline const KernelSet<double>& kernel_set<double>(const KernelTable& table) noexcept {
  return table.f64;
}

}  // namespace tileconv
