//  Tests of gpb_cuda_api.h: what libgpb declares of CUDA is what the toolkit's headers say. The
//  compiler checks it, wherever configure finds them; without them there is nothing to compare.

#include "gpb_test.h"

#include <stdio.h>

#ifdef GPB_CUDA_HEADERS
#include <cuda.h>
#include <nvrtc.h>
#endif

#include "gpb_cuda_api.h"

#ifdef GPB_CUDA_HEADERS

#define S_CONSTANT(name, value) _Static_assert((name) == (value), #name);
GPB_CUDA_CONSTANTS (S_CONSTANT)
_Static_assert(NVRTC_SUCCESS == 0 && NVRTC_ERROR_OUT_OF_MEMORY == 1 && NVRTC_ERROR_COMPILATION == 6
                   && NVRTC_ERROR_INVALID_OPTION == 5,
               "nvrtcResult");

//  Names that cuda.h maps to a version are mapped on both sides.
#define S_PROTOTYPE(name, symbol, parameters)                                                      \
    _Static_assert(__builtin_types_compatible_p (__typeof__ (&name),                               \
                                                 __typeof__ (((gpb_cuda_driver_t *) 0)->name)),    \
                   #symbol);
GPB_CUDA_FUNCTIONS (S_PROTOTYPE)
GPB_CUDA_NEWER_FUNCTIONS (S_PROTOTYPE)

#define S_NVRTC_PROTOTYPE(name, symbol, parameters)                                                \
    _Static_assert(__builtin_types_compatible_p (__typeof__ (&name),                               \
                                                 __typeof__ (((gpb_nvrtc_t *) 0)->name)),          \
                   #symbol);
GPB_NVRTC_FUNCTIONS (S_NVRTC_PROTOTYPE)

#endif

#define S_SIZE(type, bytes) _Static_assert(sizeof (type) == (bytes), #type);
#define S_OFFSET(type, member, bytes)                                                              \
    _Static_assert(offsetof (type, member) == (bytes), #type "." #member);
GPB_CUDA_SIZES (S_SIZE)
GPB_CUDA_OFFSETS (S_OFFSET)

START_TEST (test_every_function_has_a_place_of_its_own_in_the_table)
{
    //  What the loader fills by position: no member but functions, and as many as are listed.
#define S_COUNT(name, symbol, parameters) +1
    const size_t driver = 0 GPB_CUDA_FUNCTIONS (S_COUNT) GPB_CUDA_NEWER_FUNCTIONS (S_COUNT);
    const size_t nvrtc = 0 GPB_NVRTC_FUNCTIONS (S_COUNT);
    ck_assert_uint_eq (sizeof (gpb_cuda_driver_t), driver * sizeof (void (*) (void)));
    ck_assert_uint_eq (sizeof (gpb_nvrtc_t), (nvrtc + 1) * sizeof (void (*) (void)));
#ifndef GPB_CUDA_HEADERS
    printf (
        "SKIP: no cuda.h here (configure --with-cuda=DIR says where): nothing to compare with\n");
#endif
}
END_TEST

GPB_TEST_MAIN ("gpb_cuda_api", 60, test_every_function_has_a_place_of_its_own_in_the_table)
