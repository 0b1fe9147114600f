//  gpb_kernel_text - what a definition's text is held against before it means anything
//
//  libconfig 1.5 reads 4294967552 as 256 and 99999999999 as 1215752191 without a word: a whole
//  number without an L keeps its lowest 32 bits, one with an L at most 64. Later releases widen it
//  instead. Here both are the same: what does not fit is refused.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_kernel_text.h"

#include "gpb_kernel_private.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

//  A definition needs three: the root, a list, a group in it.
#define NESTING_MAX 8

//  Bytes of the UTF-8 sequence at text; 0 where it is none (overlong, surrogate, too large, cut).
static size_t
s_sequence (const unsigned char *text)
{
    if (text [0] < 0x80)
        return 1;
    if (text [0] < 0xC2 || text [0] > 0xF4)
        return 0;
    size_t size = text [0] < 0xE0 ? 2 : text [0] < 0xF0 ? 3 : 4;
    for (size_t index = 1; index < size; index++)
        if ((text [index] & 0xC0) != 0x80)
            return 0;
    if ((text [0] == 0xE0 && text [1] < 0xA0) || (text [0] == 0xED && text [1] > 0x9F)
        || (text [0] == 0xF0 && text [1] < 0x90) || (text [0] == 0xF4 && text [1] > 0x8F))
        return 0;
    return size;
}

bool
gpb_kernel_text_printable (const char *text)
{
    const unsigned char *at = (const unsigned char *) text;
    while (*at) {
        size_t size = s_sequence (at);
        if (size == 0 || *at < 0x20 || *at == 0x7F)
            return false;
        at += size;
    }
    return true;
}

bool
gpb_kernel_text_made_of (const char *text, size_t max, const char *allowed)
{
    size_t size = strlen (text);
    return size >= 1 && size <= max && strspn (text, allowed) == size;
}

bool
gpb_kernel_text_identifier (const char *text, size_t max)
{
    return gpb_kernel_text_made_of (text, max, GPB_TEXT_LOWER GPB_TEXT_UPPER "_")
           && !(*text >= '0' && *text <= '9');
}

bool
gpb_kernel_id_valid (const char *id)
{
    return gpb_kernel_text_made_of (id, GPB_KERNEL_ID_MAX, GPB_TEXT_LOWER "_.-")
           && strcmp (id, ".") != 0 && strcmp (id, "..") != 0;
}

//  ---------------------------------------------------------------------------------------------------------
//  The look through the text

typedef struct {
    const char *at;
    const char *file;
    unsigned line;
    char last;    //  the last character that was neither blank nor comment
    unsigned nesting;
    char brackets [NESTING_MAX];    //  those open, the outermost first
    gpb_error_t *error;
} scan_t;

static gpb_status_t
s_refuse (scan_t *self, const char *what)
{
    return gpb_error_set (self->error, GPB_INVALID_ARGUMENT, "%s:%u: %s", self->file, self->line,
                          what);
}

//  Line by line, whatever stands around it: also in a comment or a string, so that it does not
//  depend on seeing those just as libconfig does.
static gpb_status_t
s_check_lines (const char *text, const char *file, gpb_error_t *error)
{
    scan_t scan = { .at = text, .file = file, .line = 1, .error = error };
    const unsigned char *at = (const unsigned char *) text;
    while (*at) {
        const unsigned char *start = at + strspn ((const char *) at, " \t\r\f\v");
        if (strncmp ((const char *) start, "@include", 8) == 0)
            return s_refuse (&scan, "a kernel's definition includes no other file");
        for (; *at && *at != '\n';) {
            size_t size = s_sequence (at);
            if (size == 0)
                return s_refuse (&scan, "this line is not UTF-8");
            at += size;
        }
        scan.line++;
        at += *at == '\n';
    }
    return GPB_OK;
}

static bool
s_is_word (char c)
{
    return c && strchr (GPB_TEXT_LOWER GPB_TEXT_UPPER "_-+.*", c) != NULL;
}

//  A word that starts as a number: whole ones fit 32 bits, or 64 with an L. Hexadecimal ones are
//  taken by their bits, as libconfig does, so that 0xFFFFFFFF would be -1: only what is the same
//  both ways passes.
static gpb_status_t
s_check_number (scan_t *self, const char *word, size_t size)
{
    char text [64];
    if (size >= sizeof text)
        return s_refuse (self, "a number has at most 63 characters");
    memcpy (text, word, size);
    text [size] = 0;
    const char *digits = text + (*text == '-' || *text == '+');
    bool hexadecimal = digits [0] == '0' && (digits [1] == 'x' || digits [1] == 'X');
    if (!hexadecimal && strpbrk (text, ".eE"))
        return GPB_OK;    //  a fraction
    char *end;
    errno = 0;
    long long value = strtoll (text, &end, hexadecimal ? 16 : 10);
    if (errno == ERANGE)
        return s_refuse (self, "a whole number lies from -9223372036854775808 to "
                               "9223372036854775807");
    if (*end != 'L' && (value < INT_MIN || value > INT_MAX))
        return s_refuse (self, "a whole number beyond 32 bits is written with an L behind it");
    return GPB_OK;
}

//  Behind "= : ( [", in a list behind a ",", and behind another string, which it continues.
static bool
s_string_may_stand_here (const scan_t *self)
{
    char around = self->nesting ? self->brackets [self->nesting - 1] : 0;
    return (self->last && strchr ("=:([\"", self->last))
           || (self->last == ',' && (around == '(' || around == '['));
}

//  libconfig 1.5 leaks a string that is not closed, and one where the grammar has none.
static gpb_status_t
s_skip_string (scan_t *self)
{
    if (!s_string_may_stand_here (self))
        return s_refuse (self, "syntax error: no string belongs here");
    unsigned lines = 0;
    for (self->at++; *self->at != '"'; self->at++) {
        if (*self->at == '\\' && self->at [1])
            self->at++;
        if (!*self->at)
            return s_refuse (self, "a string starts here and is not closed");
        lines += *self->at == '\n';
    }
    self->at++;
    self->line += lines;
    return GPB_OK;
}

static bool
s_at_comment (const scan_t *self)
{
    return *self->at == '#'
           || (self->at [0] == '/' && (self->at [1] == '/' || self->at [1] == '*'));
}

static gpb_status_t
s_skip_comment (scan_t *self)
{
    if (self->at [1] != '*' || *self->at == '#') {
        self->at += strcspn (self->at, "\n");
        return GPB_OK;
    }
    const char *end = strstr (self->at + 2, "*/");
    if (!end)
        return s_refuse (self, "a comment starts here and is not closed");
    for (; self->at < end + 2; self->at++)
        self->line += *self->at == '\n';
    return GPB_OK;
}

static gpb_status_t
s_check_word (scan_t *self)
{
    const char *word = self->at;
    while (s_is_word (*self->at))
        self->at++;
    const char *digit = word + (*word == '-' || *word == '+');
    return *digit >= '0' && *digit <= '9' ? s_check_number (self, word, (size_t) (self->at - word))
                                          : GPB_OK;
}

static gpb_status_t
s_check_sign (scan_t *self)
{
    char sign = *self->at++;
    self->line += sign == '\n';
    if (strchr ("{([", sign)) {
        if (self->nesting == NESTING_MAX)
            return s_refuse (self, "groups and lists are nested too deeply");
        self->brackets [self->nesting++] = sign;
    }
    else if (strchr ("})]", sign) && self->nesting > 0)
        self->nesting--;
    return GPB_OK;
}

gpb_status_t
gpb_kernel_text_check (const char *text, const char *file, gpb_error_t *error)
{
    gpb_status_t status = s_check_lines (text, file, error);
    scan_t self = { .at = text, .file = file, .line = 1, .error = error };
    while (status == GPB_OK && *self.at) {
        char first = *self.at;
        if (s_at_comment (&self)) {
            status = s_skip_comment (&self);
            continue;
        }
        if (first == '"')
            status = s_skip_string (&self);
        else if (s_is_word (first))
            status = s_check_word (&self);
        else
            status = s_check_sign (&self);
        if (!strchr (" \t\r\n\f\v", first))
            self.last = first;
    }
    return status;
}
