//  gpb_test_keys - key pairs in a scratch folder
//
//  The folder is made with the first call, and removed with gpb_test_keys_clear; the next call
//  makes another. All end the test where something fails. Paths are good until the next call with
//  the same name.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_TEST_KEYS_H_INCLUDED
#define GPB_TEST_KEYS_H_INCLUDED

#include "gpb_certificate.h"
#include "gpb_test.h"

//  The scratch folder, and a path in it (static storage, eight of them in turn).
const char *gpb_test_scratch (void);
const char *gpb_test_path (const char *name);

//  Makes name and name_secret; the path of the first.
const char *gpb_test_key (const char *name);

//  The folder of allowed keys; lets a key in, under its own name, or takes it out.
const char *gpb_test_allowed (void);
void gpb_test_allow (const char *name);
void gpb_test_disallow (const char *name);

//  A file with this text.
void gpb_test_file (const char *path, const char *text);

void gpb_test_keys_clear (void);

#endif
