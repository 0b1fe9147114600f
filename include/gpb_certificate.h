//  gpb_certificate - a CURVE key: the public one of another, or a key pair of one's own
//
//  Files are CZMQ's certificates (zcert), which pyzmq writes and reads too: FILE holds the public
//  key and may be given to anyone, FILE_secret holds both, mode 0600. `gpb keygen FILE` makes them.
//  No function here gives a secret key away, and no error text quotes a key. One thread at a time.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_CERTIFICATE_H_INCLUDED
#define GPB_CERTIFICATE_H_INCLUDED

#include "gpb_error.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct _gpb_certificate_t gpb_certificate_t;

//  A fresh key pair with this name. INVALID_ARGUMENT for what is no name: 1 to 64 letters, digits,
//  '_', '.', '@' and '-', the first of them a letter or a digit.
GPB_EXPORT gpb_certificate_t *gpb_certificate_new (const char *name, gpb_error_t *error);

//  Reads path_secret, where there is one, or else path itself. NOT_FOUND, INVALID_ARGUMENT for what
//  is no certificate, FAILED_PRECONDITION for a secret key that others than its owner may read.
GPB_EXPORT gpb_certificate_t *gpb_certificate_load (const char *path, gpb_error_t *error);

//  Reads the public key of path, and no other file.
GPB_EXPORT gpb_certificate_t *gpb_certificate_load_public (const char *path, gpb_error_t *error);

//  The secret key is overwritten before its memory is freed.
GPB_EXPORT void gpb_certificate_destroy (gpb_certificate_t **self_p);

//  Writes path and path_secret of a key pair. ALREADY_EXISTS where there is either, and then both
//  are as they were; INVALID_ARGUMENT where they cannot be written.
GPB_EXPORT gpb_status_t gpb_certificate_save (const gpb_certificate_t *self, const char *path,
                                              gpb_error_t *error);

//  Whose it is: the metadata's `name`, or else the file's name without `_secret`, `.key`, `.pub`,
//  `.cert` and `.txt`. Borrowed.
GPB_EXPORT const char *gpb_certificate_name (const gpb_certificate_t *self);

//  The public key as 40 characters (Z85, ZeroMQ's RFC 32). Borrowed.
GPB_EXPORT const char *gpb_certificate_public_key (const gpb_certificate_t *self);

GPB_EXPORT bool gpb_certificate_has_secret (const gpb_certificate_t *self);

//  Sets a libzmq socket's CURVE options before it binds (self: the node's key pair) or before it
//  connects (self: the client's key pair; node: the public key of the node, which must be the one
//  that answers). FAILED_PRECONDITION without a secret key in self, or without CURVE in libzmq.
GPB_EXPORT gpb_status_t gpb_certificate_serve (const gpb_certificate_t *self, void *zmq_socket,
                                               gpb_error_t *error);
GPB_EXPORT gpb_status_t gpb_certificate_connect (const gpb_certificate_t *self,
                                                 const gpb_certificate_t *node, void *zmq_socket,
                                                 gpb_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
