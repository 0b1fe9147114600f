//  gpb_test_cubin - what a kernel takes of a multiprocessor, read from the cubin itself
//
//  A cubin is an ELF file. What is read of it, as found by holding cubins of CUDA 13.0 for sm_80,
//  sm_90 and sm_100 against what `ptxas -v` says of them:
//
//      .nv.info           attributes one after the other: a byte for the form of the value, a byte
//                         for the attribute, and 16 bits, which are the value itself but in form 4,
//                         where they are how many bytes of it follow. In form 4 these are a
//                         symbol's index and a number, 32 bits each:
//                             0x2f  registers of a thread, of an entry
//                             0x11  bytes of stack, of one function
//                             0x12  bytes of stack, of an entry with all that it calls
//      .text.ENTRY        an entry's code and what it calls: a symbol's section says whose it is
//      .nv.shared.ENTRY   as large as static shared memory, with the 1024 bytes of each block that
//                         are the system's from sm_90 on, where there is a .nv.shared.reserved.0
//
//  A register that is spilled is in the stack, and so is an array that is indexed by a variable.
//  (Registers are in the high byte of .text.ENTRY's sh_info too, but for sm_80 alone.)
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_CUBIN_H_INCLUDED
#define GPB_TEST_CUBIN_H_INCLUDED

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    unsigned registers;      //  of a thread
    unsigned stack_size;     //  bytes of a thread: spilled registers and arrays; the largest frame
                             //  of what it calls at least
    unsigned shared_size;    //  bytes of a block, static
} gpb_test_usage_t;

//  Fails the test where data is no cubin, or has no such entry.
gpb_test_usage_t gpb_test_cubin_usage (const void *data, size_t size, const char *entry);

//  Whether it has a section of this name that is not empty.
bool gpb_test_cubin_has (const void *data, size_t size, const char *section);

#endif
