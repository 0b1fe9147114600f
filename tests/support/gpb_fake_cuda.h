//  gpb_fake_cuda - a CUDA driver of the tests: libcuda.so.1 without a card, with books
//
//  The library (libcuda.la, in tests/support/.libs) exports what gpb_cuda_api.h lists of CUDA, and
//  the functions below. A test opens it by its path, through gpb_test_cuda.h; whoever asks the
//  dynamic linker for libcuda.so.1 after that has it by its soname. A program that a test starts
//  finds it through LD_LIBRARY_PATH. Kernels are C functions, and a stream is a thread. Read by
//  cuInit:
//
//      GPB_FAKE_CUDA_DEVICES=1        how many there are, up to 16; 0: cuInit answers NO_DEVICE
//      GPB_FAKE_CUDA_BAD=0            the number of one whose context cannot be had; unset: none
//      GPB_FAKE_CUDA_MEMORY=67108864  bytes of each device's memory; pinned memory is not of it
//      GPB_FAKE_CUDA_CAPABILITY=90    10 * major + minor
//      GPB_FAKE_CUDA_UNITS=16         multiprocessors; so many kernels run at once, others wait
//      GPB_FAKE_CUDA_COMPUTE_MODE=0   as CUcomputemode has it; prohibited: no contexts
//      GPB_FAKE_CUDA_POOLS=1          0: no memory pools
//      GPB_FAKE_CUDA_VERSION=13000    what cuDriverGetVersion says
//      GPB_FAKE_CUDA_OLD=0            1: newer functions answer CALL_REQUIRES_NEWER_DRIVER
//      GPB_FAKE_CUDA_LOADING=eager    lazy: a function is loaded when it is launched first
//      GPB_FAKE_CUDA_COPY_US=0        what every copy and memset lasts at least, in microseconds
//      GPB_FAKE_CUDA_COMPUTE_US=0     what every launch lasts at least
//
//  Device addresses are the host's own, and so a host that reads device memory is not found out.
//  Memory that is new is full of 0xA5. A pool keeps what is freed up to its release threshold, in
//  the pieces in which it was freed; a larger block takes none of them, until they are trimmed.
//
//  An image is a text with "fake cubin" in it, or PTX (a text with ".version"), or a cubin as NVRTC
//  makes it. A text holds the names of its functions as words; "sm_NN" in it is what it was
//  compiled for: a cubin must have the device's, PTX no more than that. PTX with "syntax error"
//  does not compile, and says so in the log.
//
//  A kernel that answers other than CUDA_SUCCESS fails its context: every call that needs the
//  context answers that from then on, nothing that is enqueued is carried out, and callbacks are
//  called with it. The device stays lost for the process.
//
//  It keeps books. What a caller must not do is a fault: use, free, destroy or unload what is gone,
//  or what a stream still uses; go beyond the end of memory; release a context too often, or with
//  something left in it; pop a context that the thread has not pushed; call CUDA from a callback;
//  end the process with a context retained. So is, while a persistent kernel runs, whatever makes
//  a real driver wait for it: memory (but for pools), modules, functions loaded late. A failed
//  context may leave what it holds. Faults are kept as sentences that start with the call's name.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FAKE_CUDA_H_INCLUDED
#define GPB_FAKE_CUDA_H_INCLUDED

#include "gpb_cuda_api.h"
#include "gpb_error.h"

#include <stdbool.h>

#define GPB_FAKE_CUDA_PARAMETERS_MAX 64

//  One launch, as a kernel sees it: all blocks and threads of it are this one call.
typedef struct {
    void *const *parameters;    //  a pointer to each value, aligned for any type
    unsigned grid [3];
    unsigned block [3];
    unsigned shared_size;    //  bytes of dynamic shared memory asked for
} gpb_fake_cuda_launch_t;

//  Runs on its stream's thread, and calls nothing of CUDA's. What it answers is the context's error
//  where it is not CUDA_SUCCESS.
typedef CUresult (gpb_fake_cuda_kernel_t) (const gpb_fake_cuda_launch_t *launch);

//  What a name in an image stands for. 0 is a default wherever it is no meaning.
typedef struct {
    const char *name;
    gpb_fake_cuda_kernel_t *run;    //  NULL: does nothing
    bool is_persistent;             //  runs until someone stops it, or it is killed
    unsigned threads_max;           //  of a block; 1024
    unsigned shared_size;           //  bytes of static shared memory
    unsigned parameters_count;
    size_t parameters [GPB_FAKE_CUDA_PARAMETERS_MAX];    //  their sizes in bytes
} gpb_fake_cuda_function_t;

//  Says what a name is, for all that is looked up from now on; the record is copied. A name that
//  nobody registered does nothing. It has the parameters that its cubin says, and those of a text
//  are not known: any will do, and cuFuncGetParamInfo answers NOT_SUPPORTED.
GPB_EXPORT void gpb_fake_cuda_register (const gpb_fake_cuda_function_t *function);

//  For kernels: where size bytes of device or pinned memory are. NULL, and a fault, where that is
//  not memory, or less of it.
GPB_EXPORT void *gpb_fake_cuda_range (CUdeviceptr address, size_t size);

//  For kernels that are persistent: whether to end now, since the context has failed or is gone.
GPB_EXPORT bool gpb_fake_cuda_killed (void);

//  The nth next call of this function, 1 being the very next, answers result and does nothing, and
//  all those after it too where that is for_ever. Takes the place of what was said of the function
//  before; nth 0 takes it back. Names are CUDA's, without a version: "cuMemFree". A result that no
//  context survives (ILLEGAL_ADDRESS, LAUNCH_FAILED, ECC_UNCORRECTABLE...) fails the one that is
//  current. After a call that gives something back has failed so, what is left is no fault.
GPB_EXPORT void gpb_fake_cuda_fail (const char *call, unsigned nth, CUresult result, bool for_ever);

//  How often it was called, refused calls included, by any thread.
GPB_EXPORT unsigned gpb_fake_cuda_calls (const char *call);

//  The name of each function that there is, by a number from 0 on; NULL past the last one.
GPB_EXPORT const char *gpb_fake_cuda_call (unsigned number);

//  How many faults there were since the last call; text holds their sentences, a line each. Faults
//  that nobody has asked for when the process exits are written to stderr, and it aborts.
GPB_EXPORT unsigned gpb_fake_cuda_faults (char *text, size_t size);

//  As if the library had just been opened: no contexts, functions, failures, counts or faults. All
//  kernels must end when they are killed; no other thread may be in a call.
GPB_EXPORT void gpb_fake_cuda_reset (void);

#endif
