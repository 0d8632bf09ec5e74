// The entries of the table of algorithms, one for each file of this folder.
#pragma once

#include "../plan.h"

namespace tileconv {

extern const Algorithm shift_gemm_algorithm;          // the general one
extern const Algorithm depthwise_algorithm;           // one plane in, one plane out
extern const Algorithm depthwise_channels_algorithm;  // the same, channels in the lanes
extern const Algorithm winograd_algorithm;            // small kernels of stride 1 with fewer multiply-adds
extern const Algorithm winograd_rows_algorithm;       // the same for few channels, down the columns alone
extern const Algorithm strassen_algorithm;            // 1x1 kernels and patches with fewer multiply-adds
extern const Algorithm toeplitz_algorithm;            // 3x3 kernels dilated by half the image and more
extern const Algorithm fft_algorithm;                 // large kernels of one plane, by Fourier transforms
extern const Algorithm reference_algorithm;           // plain loops: what all others are an equivalent of

}  // namespace tileconv
