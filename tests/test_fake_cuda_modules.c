//  Tests of the fake CUDA driver's modules: which images it takes, what it knows of their
//  functions, and which launches it refuses.

#include "gpb_test_cuda.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static const gpb_test_cuda_t *s_fake;
static const gpb_cuda_driver_t *s_cuda;

static CUcontext
s_open (void)
{
    s_fake = gpb_test_cuda ();
    s_cuda = &s_fake->cuda;
    return gpb_test_cuda_open ();
}

static CUresult
s_try_to_load (const void *image)
{
    CUmodule module;
    CUresult result = s_cuda->cuModuleLoadDataEx (&module, image, 0, NULL, NULL);
    if (result == CUDA_SUCCESS)
        ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    return result;
}

START_TEST (test_an_image_must_be_one_and_for_this_device)
{
    s_open ();
    ck_assert_cuda_ok (s_try_to_load ("fake cubin"));
    ck_assert_cuda_ok (s_try_to_load ("fake cubin sm_90"));
    ck_assert_cuda (s_try_to_load ("fake cubin sm_80"), CUDA_ERROR_NO_BINARY_FOR_GPU);
    ck_assert_cuda_ok (s_try_to_load (".version 8.0 .target sm_80"));
    ck_assert_cuda (s_try_to_load (".version 8.0 .target sm_100"), CUDA_ERROR_NO_BINARY_FOR_GPU);
    ck_assert_cuda (s_try_to_load ("int main ()"), CUDA_ERROR_INVALID_IMAGE);
    ck_assert_cuda (s_try_to_load (NULL), CUDA_ERROR_INVALID_VALUE);
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_what_does_not_compile_says_where_as_far_as_there_is_room)
{
    s_open ();
    char log [64] = "";
    CUjit_option options [] = { CU_JIT_OPTIMIZATION_LEVEL, CU_JIT_ERROR_LOG_BUFFER,
                                CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES };
    void *values [] = { NULL, log, (void *) sizeof log };
    CUmodule module;
    ck_assert_cuda (s_cuda->cuModuleLoadDataEx (&module, ".version 8.0 syntax error", 3, options,
                                                values),
                    CUDA_ERROR_INVALID_PTX);
    ck_assert_ptr_nonnull (strstr (log, "line 1; fatal   : syntax error"));
    ck_assert_uint_eq ((uintptr_t) values [2], strlen (log));
    values [2] = (void *) 6;
    ck_assert_cuda (s_cuda->cuModuleLoadDataEx (&module, ".version 8.0 syntax error", 3, options,
                                                values),
                    CUDA_ERROR_INVALID_PTX);
    ck_assert_str_eq (log, "ptxas");
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_function_is_a_word_of_the_image_and_the_same_each_time)
{
    s_open ();
    CUmodule module = gpb_test_cuda_module ("fake cubin add_more add");
    CUfunction function = gpb_test_cuda_function (module, "add"), other;
    ck_assert_ptr_eq (gpb_test_cuda_function (module, "add"), function);
    ck_assert_ptr_ne (gpb_test_cuda_function (module, "add_more"), function);
    ck_assert_cuda (s_cuda->cuModuleGetFunction (&other, module, "more"), CUDA_ERROR_NOT_FOUND);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

//  As much of a cubin as says what is in it: a function with a pointer, an int and a double.
typedef struct {
    Elf64_Ehdr header;
    Elf64_Shdr sections [4];
    char names [64];
    uint32_t info [15];
} cubin_t;

static cubin_t
s_cubin (unsigned char abi, unsigned flags)
{
    static const char names [] = "\0.shstrtab\0.text.add_one\0.nv.info.add_one";
    //  As NVRTC 13.0 writes them, the last parameter first, among other things.
    static const uint32_t info [] = {
        0x00043704, 0x82,                          //
        0x000c1704, 0,    0x00100002, 0x21f000,    //
        0x000c1704, 0,    0x00080001, 0x11f000,    //
        0x000c1704, 0,    0x00000000, 0x21f000,    //
        0x00ff1b03,
    };
    cubin_t cubin = { .header = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                                               ELFDATA2LSB, EV_CURRENT, 0x41, abi },
                                  .e_machine = 190,
                                  .e_flags = flags,
                                  .e_shoff = offsetof (cubin_t, sections),
                                  .e_shentsize = sizeof (Elf64_Shdr),
                                  .e_shnum = 4,
                                  .e_shstrndx = 1 },
                      .sections = { { .sh_type = SHT_NULL },
                                    { .sh_type = SHT_STRTAB,
                                      .sh_name = 1,
                                      .sh_offset = offsetof (cubin_t, names),
                                      .sh_size = sizeof names },
                                    { .sh_type = SHT_PROGBITS, .sh_name = 11 },
                                    { .sh_type = SHT_LOPROC,
                                      .sh_name = 25,
                                      .sh_offset = offsetof (cubin_t, info),
                                      .sh_size = sizeof info } } };
    memcpy (cubin.names, names, sizeof names);
    memcpy (cubin.info, info, sizeof info);
    return cubin;
}

START_TEST (test_a_cubin_is_read_as_the_compiler_writes_it)
{
    s_open ();
    cubin_t *cubin = malloc (sizeof *cubin);
    ck_assert_ptr_nonnull (cubin);
    *cubin = s_cubin (8, 0x6005a04);    //  as NVRTC 13.0 has it for sm_90
    CUmodule module;
    ck_assert_cuda_ok (s_cuda->cuModuleLoadDataEx (&module, cubin, 0, NULL, NULL));
    *cubin = s_cubin (8, 0x6005004);
    ck_assert_cuda (s_try_to_load (cubin), CUDA_ERROR_NO_BINARY_FOR_GPU);
    *cubin = s_cubin (7, 0x5a055a);
    ck_assert_cuda_ok (s_try_to_load (cubin));
    cubin->header.e_machine = EM_X86_64;
    ck_assert_cuda (s_try_to_load (cubin), CUDA_ERROR_INVALID_IMAGE);
    free (cubin);
    CUfunction other, function = gpb_test_cuda_function (module, "add_one");
    const size_t offsets [] = { 0, 8, 16 }, sizes [] = { 8, 4, 8 };
    size_t offset, size;
    for (size_t index = 0; index < 3; index++) {
        ck_assert_cuda_ok (s_cuda->cuFuncGetParamInfo (function, index, &offset, &size));
        ck_assert_uint_eq (offset, offsets [index]);
        ck_assert_uint_eq (size, sizes [index]);
    }
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (function, 3, &offset, &size),
                    CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_cuda->cuModuleGetFunction (&other, module, "add"), CUDA_ERROR_NOT_FOUND);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

START_TEST (test_a_function_tells_its_parameters_and_limits)
{
    s_open ();
    const gpb_fake_cuda_function_t mixed = { .name = "mixed",
                                             .threads_max = 256,
                                             .shared_size = 1024,
                                             .parameters_count = 4,
                                             .parameters = { 4, 8, 1, 2 } };
    s_fake->define (&mixed);
    CUmodule module = gpb_test_cuda_module ("fake cubin mixed unknown");
    CUfunction function = gpb_test_cuda_function (module, "mixed");
    const size_t offsets [] = { 0, 8, 16, 18 };
    size_t offset, size;
    for (size_t index = 0; index < 4; index++) {
        ck_assert_cuda_ok (s_cuda->cuFuncGetParamInfo (function, index, &offset, &size));
        ck_assert_uint_eq (offset, offsets [index]);
        ck_assert_uint_eq (size, mixed.parameters [index]);
    }
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (function, 4, &offset, &size),
                    CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_cuda->cuFuncGetParamInfo (gpb_test_cuda_function (module, "unknown"), 0,
                                                &offset, &size),
                    CUDA_ERROR_NOT_SUPPORTED);
    int value, grid;
    ck_assert_cuda_ok (
        s_cuda->cuFuncGetAttribute (&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    ck_assert_int_eq (value, 256);
    ck_assert_cuda_ok (
        s_cuda->cuFuncGetAttribute (&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function));
    ck_assert_int_eq (value, 1024);
    ck_assert_cuda_ok (
        s_cuda->cuOccupancyMaxPotentialBlockSize (&grid, &value, function, NULL, 0, 0));
    ck_assert_int_eq (value, 256);
    ck_assert_int_eq (grid, 32);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

static CUresult
s_launch_shape (CUfunction function, CUstream stream, unsigned grid, unsigned block,
                unsigned shared_size)
{
    return s_cuda->cuLaunchKernel (function, grid, 1, 1, block, 1, 1, shared_size, stream, NULL,
                                   NULL);
}

START_TEST (test_a_launch_is_refused_beyond_the_limits)
{
    s_open ();
    CUstream stream = gpb_test_cuda_stream ();
    const gpb_fake_cuda_function_t small = { .name = "small", .threads_max = 64 };
    s_fake->define (&small);
    CUmodule module = gpb_test_cuda_module ("fake cubin nothing small add");
    CUfunction nothing = gpb_test_cuda_function (module, "nothing");
    ck_assert_cuda (s_launch_shape (nothing, stream, 0, 1, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1, 0, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1, 1025, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1u << 31, 1, 0), CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (gpb_test_cuda_function (module, "small"), stream, 1, 65, 0),
                    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    ck_assert_cuda (gpb_test_cuda_launch (gpb_test_cuda_function (module, "add"), stream, NULL),
                    CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda (s_launch_shape (nothing, stream, 1, 1, (48 << 10) + 1),
                    CUDA_ERROR_INVALID_VALUE);
    const CUfunction_attribute dynamic = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    ck_assert_cuda (s_cuda->cuFuncSetAttribute (nothing, dynamic, (227 << 10) + 1),
                    CUDA_ERROR_INVALID_VALUE);
    ck_assert_cuda_ok (s_cuda->cuFuncSetAttribute (nothing, dynamic, 100 << 10));
    ck_assert_cuda_ok (s_launch_shape (nothing, stream, 1, 1, 100 << 10));
    gpb_test_cuda_end_stream (stream);
    ck_assert_cuda_ok (s_cuda->cuModuleUnload (module));
    gpb_test_cuda_close ();
}
END_TEST

GPB_TEST_MAIN ("fake_cuda_modules", 20, test_an_image_must_be_one_and_for_this_device,
               test_what_does_not_compile_says_where_as_far_as_there_is_room,
               test_a_function_is_a_word_of_the_image_and_the_same_each_time,
               test_a_cubin_is_read_as_the_compiler_writes_it,
               test_a_function_tells_its_parameters_and_limits,
               test_a_launch_is_refused_beyond_the_limits)
