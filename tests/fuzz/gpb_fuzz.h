//  gpb_fuzz - what a fuzz target is, and how it reads its input
//
//  A target is one file with LLVMFuzzerTestOneInput. With --enable-fuzz (clang) it is linked with
//  libFuzzer, which looks for inputs that run code that none before has run; without, with
//  gpb_fuzz_driver.c, which tries the corpus and a bounded number of mutations of it. A target
//  aborts where what is tested breaks its word; sanitizers see the rest.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_FUZZ_H_INCLUDED
#define GPB_FUZZ_H_INCLUDED

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  libFuzzer's. Always returns 0.
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

//  Says what was expected, and aborts.
#define gpb_fuzz_check(expression, ...)                                                            \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            fprintf (stderr, "%s:%d: not %s: ", __FILE__, __LINE__, #expression);                  \
            fprintf (stderr, __VA_ARGS__);                                                         \
            fputc ('\n', stderr);                                                                  \
            abort ();                                                                              \
        }                                                                                          \
    } while (0)

//  The input, taken from its front. What is not there any more reads as zeroes.
typedef struct {
    const uint8_t *data;
    size_t size;
} gpb_fuzz_input_t;

static inline void
gpb_fuzz_take (gpb_fuzz_input_t *self, void *target, size_t size)
{
    size_t there = size < self->size ? size : self->size;
    memset (target, 0, size);
    if (there)
        memcpy (target, self->data, there);
    self->data += there;
    self->size -= there;
}

static inline uint8_t
gpb_fuzz_byte (gpb_fuzz_input_t *self)
{
    uint8_t byte;
    gpb_fuzz_take (self, &byte, 1);
    return byte;
}

//  All that is left as a string; free it.
static inline char *
gpb_fuzz_text (const gpb_fuzz_input_t *self)
{
    char *text = malloc (self->size + 1);
    gpb_fuzz_check (text != NULL, "no memory");
    if (self->size)
        memcpy (text, self->data, self->size);
    text [self->size] = 0;
    return text;
}

#endif
