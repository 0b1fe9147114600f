//  gpb_error - statuses, and the sentence that goes with one
//
//  Every function of libgpb that can fail returns a gpb_status_t, or NULL, and fills a gpb_error_t
//  that the caller passes: what was wrong, what was expected, with the values. NULL is accepted
//  where the caller does not care. The statuses are gRPC's, with gRPC's numbers, and they are the
//  wire's too (proto/gpb.proto).
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_ERROR_H_INCLUDED
#define GPB_ERROR_H_INCLUDED

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GPB_PRINTF(text, first) __attribute__ ((format (printf, text, first)))
#define GPB_EXPORT __attribute__ ((visibility ("default")))
#else
#define GPB_PRINTF(text, first)
#define GPB_EXPORT
#endif

typedef enum {
    GPB_OK = 0,
    GPB_CANCELLED = 1,
    GPB_UNKNOWN = 2,
    GPB_INVALID_ARGUMENT = 3,
    GPB_DEADLINE_EXCEEDED = 4,
    GPB_NOT_FOUND = 5,
    GPB_ALREADY_EXISTS = 6,
    GPB_PERMISSION_DENIED = 7,
    GPB_RESOURCE_EXHAUSTED = 8,
    GPB_FAILED_PRECONDITION = 9,
    GPB_ABORTED = 10,
    GPB_OUT_OF_RANGE = 11,
    GPB_UNIMPLEMENTED = 12,
    GPB_INTERNAL = 13,
    GPB_UNAVAILABLE = 14,
    GPB_DATA_LOSS = 15,
    GPB_UNAUTHENTICATED = 16
} gpb_status_t;

//  A compiler's log is the longest text that an error carries; what is longer is cut in the middle,
//  since its first and its last lines are the ones that help.
#define GPB_ERROR_TEXT_SIZE 4096

typedef struct {
    gpb_status_t status;
    char text [GPB_ERROR_TEXT_SIZE];    //  UTF-8, ends in NUL, no line feed at its end
} gpb_error_t;

//  Fills *error, where it is not NULL, and returns status, so that a caller may return what this
//  returns. Any thread. Never fails: a text that is too long loses its middle.
GPB_EXPORT gpb_status_t gpb_error_set (gpb_error_t *error, gpb_status_t status, const char *format,
                                       ...) GPB_PRINTF (3, 4);

//  Puts a prefix before the text that is already there ("kernel.conf:12: ..."). Keeps the status,
//  and returns it.
GPB_EXPORT gpb_status_t gpb_error_prefix (gpb_error_t *error, const char *format, ...)
    GPB_PRINTF (2, 3);

//  "OK", "INVALID_ARGUMENT"... as gRPC spells it; "UNKNOWN" for a number that is no status. Static
//  storage.
GPB_EXPORT const char *gpb_status_name (gpb_status_t status);

#ifdef __cplusplus
}
#endif

#endif
