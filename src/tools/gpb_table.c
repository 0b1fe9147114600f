//  gpb_table - figures for people: aligned columns, and sizes and times in readable units
//
//  A flat list of cells, row after row. Widths are counted in characters of UTF-8, not in bytes;
//  the last column is not padded.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_table.h"

#include "gpb_alloc.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#define COLUMNS_MAX 24

struct _gpb_table_t {
    size_t columns;
    bool right [COLUMNS_MAX];    //  aligned to the right
    char **cells;                //  the headings first
    size_t count, room;          //  of cells
    bool lost;                   //  memory ran out for one of them
};

//  Takes text, which may be NULL.
static void
s_append (gpb_table_t *self, char *text)
{
    if (text && self->count == self->room) {
        size_t room = self->room ? self->room * 2 : 64;
        char **cells = gpb_realloc (self->cells, room, sizeof *cells);
        if (cells) {
            self->cells = cells;
            self->room = room;
        }
    }
    if (text && self->count < self->room)
        self->cells [self->count++] = text;
    else {
        gpb_free (text);
        self->lost = true;
    }
}

gpb_table_t *
gpb_table_new (const char *columns)
{
    gpb_table_t *self = gpb_alloc (1, sizeof *self);
    if (!self)
        return NULL;
    for (const char *at = columns; *at && self->columns < COLUMNS_MAX; at += strspn (at, " ")) {
        self->right [self->columns] = *at == '>';
        at += *at == '>';
        size_t size = strcspn (at, " ");
        s_append (self, gpb_strndup (at, size));
        self->columns++;
        at += size;
    }
    if (self->lost)
        gpb_table_destroy (&self);
    return self;
}

void
gpb_table_destroy (gpb_table_t **self_p)
{
    gpb_table_t *self = *self_p;
    if (!self)
        return;
    for (size_t index = 0; index < self->count; index++)
        gpb_free (self->cells [index]);
    gpb_free (self->cells);
    gpb_free (self);
    *self_p = NULL;
}

void
gpb_table_add (gpb_table_t *self, const char *format, ...)
{
    va_list arguments, again;
    va_start (arguments, format);
    va_copy (again, arguments);
    int size = vsnprintf (NULL, 0, format, arguments);
    char *text = size < 0 ? NULL : gpb_alloc ((size_t) size + 1, 1);
    if (text) {
        vsnprintf (text, (size_t) size + 1, format, again);
        for (char *at = text; *at; at++)
            if ((unsigned char) *at < 0x20 || *at == 0x7F)
                *at = '?';
    }
    s_append (self, text);
    va_end (again);
    va_end (arguments);
}

static int
s_width (const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char) *text & 0xC0) != 0x80;
    return width;
}

gpb_status_t
gpb_table_print (const gpb_table_t *self, FILE *out, gpb_error_t *error)
{
    if (self->lost)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for a table");
    int widths [COLUMNS_MAX] = { 0 };
    for (size_t index = 0; index < self->count; index++) {
        int width = s_width (self->cells [index]);
        if (width > widths [index % self->columns])
            widths [index % self->columns] = width;
    }
    for (size_t index = 0; index < self->count; index++) {
        size_t column = index % self->columns;
        const char *text = self->cells [index];
        bool last = column + 1 == self->columns;
        int padding = widths [column] - s_width (text);
        if (self->right [column])
            fprintf (out, "%*s%s", padding, "", text);
        else
            fprintf (out, "%s%*s", text, last ? 0 : padding, "");
        fputs (last ? "\n" : "  ", out);
    }
    return GPB_OK;
}

const char *
gpb_table_size (uint64_t size, char *text)
{
    static const char *const units [] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = (double) size;
    size_t unit = 0;
    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    snprintf (text, GPB_FIGURE_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units [unit]);
    return text;
}

const char *
gpb_table_time (uint64_t time_ns, char *text)
{
    static const char *const units [] = { "ns", "µs", "ms", "s" };
    double value = (double) time_ns;
    size_t unit = 0;
    while (value >= 1000 && unit < 3) {
        value /= 1000;
        unit++;
    }
    int places = !unit ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
    snprintf (text, GPB_FIGURE_SIZE, "%.*f %s", places, value, units [unit]);
    return text;
}
