//  gpb_test_nvrtc - the CUDA module's compiler without a driver, and what it says
//
//  For test programs that have the module's gpb_cuda_driver.c and gpb_cuda_nvrtc.c among their
//  sources. NVRTC needs no GPU: it is taken from GPB_NVRTC, from where configure found it, or from
//  where the module looks.
//
//  The module throws away what the compiler says of a source that compiles: warnings. Here it is
//  kept, since NVRTC 13 has no option that makes them errors.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_NVRTC_H_INCLUDED
#define GPB_TEST_NVRTC_H_INCLUDED

#include "gpb_cuda.h"
#include "gpb_kernel.h"

//  The architectures that tests compile for; NULL behind the last.
extern const char *const gpb_test_architectures [];

//  self is what gpb_cuda_compile takes, with the library's own services. False: there is no
//  compiler, and a line that starts with SKIP has been printed.
bool gpb_test_nvrtc_open (gpb_backend_t *self);

//  Whether a cubin for this architecture comes of it. An older compiler makes PTX of an older one.
bool gpb_test_nvrtc_knows (const gpb_backend_t *self, const char *architecture);

//  What the compiler said last, of a source that compiled or of one that did not; "" for nothing.
//  One thread's.
const char *gpb_test_nvrtc_log (void);

//  A package of the source tree by its path there ("kernels/saxpy"). The caller's.
gpb_kernel_t *gpb_test_nvrtc_package (const char *path);

#endif
