//  gpb_test_packages - every shipped kernel that is launched, against its reference
//
//  A client of any node is asked for: each kernel for every shape of a list (nothing at all, one
//  element, sizes that divide nothing, sizes over the local size), each with the package's local
//  size and with others that it must do with. Inputs come from a seed, so that a failure can be had
//  again. Every function ends the test where something is wrong. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_PACKAGES_H_INCLUDED
#define GPB_TEST_PACKAGES_H_INCLUDED

#include "gpb.h"
#include "gpb_reference.h"

//  One kernel, in all its shapes.
void gpb_test_package_is_its_reference (gpb_client_t *client, const char *kernel);

//  The specification's own: 1,048,576 floats, a = i, b = 2 i, local size 256, within 0.001.
void gpb_test_package_million (gpb_client_t *client);

//  tests/kernels/words uses every word of the prelude: what each must mean.
void gpb_test_package_words (gpb_client_t *client);

//  ---------------------------------------------------------------------------------------------------------
//  What they are made of

//  Inputs follow from it, until the next one. Memory is for free ().
void gpb_test_package_seed (uint64_t seed);
void *gpb_test_package_memory (size_t count, size_t size);
float *gpb_test_package_floats (size_t count);    //  from -1 to 1, with 24 bits
uint8_t *gpb_test_package_bytes (size_t count);

//  Asks and waits for an answer that is OK; the caller's.
gpb_reply_t *gpb_test_package_call (gpb_client_t *client, gpb_request_t *request);

//  A result of this size; borrowed of the reply.
const void *gpb_test_package_result (gpb_reply_t *reply, size_t index, size_t expected_size);

//  A result is this to the bit, or floats within their bounds.
void gpb_test_package_same (gpb_reply_t *reply, size_t index, const void *expected, size_t count,
                            size_t size);
void gpb_test_package_close (gpb_reply_t *reply, size_t index, const gpb_reference_t *expected,
                             size_t count);

#endif
