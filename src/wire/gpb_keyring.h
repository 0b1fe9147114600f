//  gpb_keyring - a folder of public keys that may come in
//
//  Each file of the folder is a certificate (gpb_certificate.h) with the public key of one that is
//  allowed, and with its name; several keys may have one name. What is removed from the folder, or
//  cannot be read any more, is not allowed from the next look at it on. A key is kept for the life
//  of the keyring, so that connections may point to it. One thread.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_KEYRING_H_INCLUDED
#define GPB_KEYRING_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>

#define GPB_KEYRING_MAX 10000    //  keys ever: each handshake looks through them

typedef struct _gpb_keyring_t gpb_keyring_t;

typedef struct {
    char name [65];
    char public_key [41];    //  Z85
    bool is_allowed;         //  now
} gpb_key_t;

//  Reads the folder. NOT_FOUND or INVALID_ARGUMENT where it cannot be, RESOURCE_EXHAUSTED. A file
//  in it that is no public key is a notice, not an error.
gpb_keyring_t *gpb_keyring_new (const char *folder, gpb_error_t *error);

void gpb_keyring_destroy (gpb_keyring_t **self_p);

//  Looks at the folder again, and reads it where anything in it has changed: then true. A folder
//  that is gone allows nobody.
bool gpb_keyring_refresh (gpb_keyring_t *self);

//  The key as it is allowed, or as it was; NULL where it never was.
const gpb_key_t *gpb_keyring_find (const gpb_keyring_t *self, const char *public_key);

//  How many are allowed now.
unsigned gpb_keyring_count (const gpb_keyring_t *self);

//  What was wrong with the files of the folder when it was read last, a sentence each; NULL: no
//  more.
const char *gpb_keyring_notice (const gpb_keyring_t *self, unsigned index);

#endif
