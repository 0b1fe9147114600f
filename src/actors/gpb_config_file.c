//  gpb_config_file - a configuration from a libconfig file
//
//  A file is read whole and checked setting by setting into a copy; only a file without a fault
//  changes anything. libconfig parses it, from memory and behind a small scanner of ours, since
//  libconfig 1.5 left alone ends the process where it is handed a folder (flex calls exit), and
//  silently wraps an integer above 32 bits that has no L behind it; and behind the one that
//  kernel.conf goes through, since it leaks strings that end or stand where they should not.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#include "gpb_alloc.h"
#include "gpb_config_private.h"
#include "gpb_kernel_text.h"

#include <ctype.h>
#include <errno.h>
#include <libconfig.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

//  Bytes of a configuration file: a hundred times what all keys with their help take.
#define FILE_MAX_SIZE ((size_t) 1024 * 1024)

//  The file's text with a NUL behind it.
static gpb_status_t
s_read_file (const char *path, char **text_p, size_t *size_p, gpb_error_t *error)
{
    FILE *file = fopen (path, "re");
    if (!file)
        return gpb_error_set (error,
                              errno == ENOENT || errno == ENOTDIR ? GPB_NOT_FOUND
                                                                  : GPB_INVALID_ARGUMENT,
                              "%s: cannot be opened: %s", path, strerror (errno));
    gpb_status_t status = GPB_OK;
    char *text = gpb_alloc (FILE_MAX_SIZE + 2, 1);
    size_t size = text ? fread (text, 1, FILE_MAX_SIZE + 1, file) : 0;
    if (!text)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory to read it", path);
    else if (ferror (file))
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s: cannot be read: %s", path,
                                strerror (errno));
    else if (size > FILE_MAX_SIZE)
        status = gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                "%s: larger than the %zu bytes that a configuration may have", path,
                                FILE_MAX_SIZE);
    fclose (file);
    if (status != GPB_OK) {
        gpb_free (text);
        return status;
    }
    *text_p = text;
    *size_p = size;
    return GPB_OK;
}

static gpb_status_t s_refuse (gpb_error_t *error, const char *path, int line, const char *format,
                              ...) GPB_PRINTF (4, 5);

static gpb_status_t
s_refuse (gpb_error_t *error, const char *path, int line, const char *format, ...)
{
    char text [512];
    va_list arguments;
    va_start (arguments, format);
    vsnprintf (text, sizeof text, format, arguments);
    va_end (arguments);
    return gpb_error_set (error, GPB_INVALID_ARGUMENT, "%s:%d: %s", path, line, text);
}

//  The end of the comment or string that starts at `at`, or `at` where none does. A comment or
//  string without an end reaches to the text's end, where libconfig refuses it.
static const char *
s_skip_inert (const char *at)
{
    if (at [0] == '#' || (at [0] == '/' && at [1] == '/'))
        return at + strcspn (at, "\n");
    if (at [0] == '/' && at [1] == '*') {
        const char *end = strstr (at + 2, "*/");
        return end ? end + 2 : at + strlen (at);
    }
    if (at [0] == '"') {
        for (at++; *at && *at != '"'; at++)
            if (*at == '\\' && at [1])
                at++;
        return *at ? at + 1 : at;
    }
    return at;
}

//  Whether a token is an integer as libconfig writes one: decimal or 0x, without the L.
static bool
s_is_integer (const char *token, size_t size)
{
    bool hex = size > 2 && token [0] == '0' && (token [1] == 'x' || token [1] == 'X');
    for (size_t at = hex ? 2 : 0; at < size; at++)
        if (!(hex ? isxdigit ((unsigned char) token [at]) : isdigit ((unsigned char) token [at])))
            return false;
    return true;
}

//  Copies text to target (twice as large) with an L behind every integer, so that libconfig reads
//  all of them as 64 bits, and refuses what libconfig would not report: an include, a NUL, an
//  integer beyond 64 bits.
static gpb_status_t
s_prepare (const char *path, const char *text, size_t size, char *target, gpb_error_t *error)
{
    int line = 1;
    const char *at = text;
    while (*at) {
        const char *end = s_skip_inert (at);
        bool number = end == at && isdigit ((unsigned char) *at);
        bool wide = false;
        if (end == at && *at == '@')
            return s_refuse (error, path, line,
                             "@include is not read; write all settings into one file");
        if (number) {
            //  A sign inside belongs to an exponent.
            for (end++; isalnum ((unsigned char) *end) || *end == '.'
                        || ((*end == '-' || *end == '+') && (end [-1] | 32) == 'e');
                 end++)
                ;
            wide = s_is_integer (at, (size_t) (end - at));
            errno = 0;
            if (wide && (strtoll (at, NULL, 0), errno))
                return s_refuse (error, path, line, "%.*s is no number of 64 bits",
                                 (int) (end - at < 100 ? end - at : 100), at);
        }
        else if (end == at && (isalpha ((unsigned char) *at) || *at == '*'))
            while (isalnum ((unsigned char) *end) || *end == '-' || *end == '_' || *end == '*')
                end++;
        else if (end == at)
            end++;
        for (; at < end; at++) {
            line += *at == '\n';
            *target++ = *at;
        }
        if (wide)
            *target++ = 'L';
    }
    *target = 0;
    if ((size_t) (at - text) != size)
        return s_refuse (error, path, line, "a NUL byte; a configuration is plain text");
    return GPB_OK;
}

static const char *
s_type_name (const config_setting_t *setting)
{
    switch (config_setting_type (setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64: return "a number";
    case CONFIG_TYPE_FLOAT: return "a number with a point";
    case CONFIG_TYPE_STRING: return "a string";
    case CONFIG_TYPE_BOOL: return "true or false";
    case CONFIG_TYPE_GROUP: return "a group";
    default: return "a list";
    }
}

//  A list's strings with blanks between, in fresh memory.
static gpb_status_t
s_join (const char *name, const config_setting_t *list, char **text_p, gpb_error_t *error)
{
    size_t size = 1;
    int length = config_setting_length (list);
    for (int index = 0; index < length; index++) {
        const config_setting_t *element = config_setting_get_elem (list, (unsigned) index);
        if (config_setting_type (element) != CONFIG_TYPE_STRING)
            return gpb_config_expected (name, "one that holds something else", error);
        const char *word = config_setting_get_string (element);
        if (!*word || strpbrk (word, " \t"))
            return gpb_error_set (error, GPB_INVALID_ARGUMENT,
                                  "%s holds \"%.200s\"; no string of it is empty or has blanks",
                                  name, word);
        size += strlen (word) + 1;
    }
    char *text = gpb_alloc (size, 1);
    if (!text)
        return gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "no memory for %s", name);
    char *at = text;
    for (int index = 0; index < length; index++) {
        if (index)
            *at++ = ' ';
        const char *word = config_setting_get_string_elem (list, index);
        memcpy (at, word, strlen (word));
        at += strlen (word);
    }
    *text_p = text;
    return GPB_OK;
}

//  A value of the right type as the text that gpb_config_set takes. NULL: it is of another type.
static const char *
s_scalar_text (gpb_config_type_t wanted, const config_setting_t *setting, char *text, size_t size)
{
    int type = config_setting_type (setting);
    switch (wanted) {
    case GPB_CONFIG_STRING:
    case GPB_CONFIG_WORDS: return config_setting_get_string (setting);
    case GPB_CONFIG_NUMBER:
        snprintf (text, size, "%lld", config_setting_get_int64 (setting));
        return type == CONFIG_TYPE_INT64 ? text : NULL;
    case GPB_CONFIG_BOOL: break;
    }
    if (type == CONFIG_TYPE_BOOL)
        return config_setting_get_bool (setting) ? "true" : "false";
    if (type == CONFIG_TYPE_INT64 && (config_setting_get_int64 (setting) | 1) == 1)
        return config_setting_get_int64 (setting) ? "true" : "false";
    return NULL;
}

static gpb_status_t
s_set_setting (gpb_config_t *self, const config_setting_t *setting, gpb_error_t *error)
{
    const char *name = config_setting_name (setting);
    gpb_config_type_t wanted;
    gpb_status_t status = gpb_config_find (name, &wanted, error);
    if (status != GPB_OK)
        return status;
    int type = config_setting_type (setting);
    if (wanted == GPB_CONFIG_WORDS && (type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST)) {
        char *words = NULL;
        status = s_join (name, setting, &words, error);
        if (status == GPB_OK)
            status = gpb_config_set (self, name, words, error);
        gpb_free (words);
        return status;
    }
    char number [32];
    const char *text = s_scalar_text (wanted, setting, number, sizeof number);
    return text ? gpb_config_set (self, name, text, error)
                : gpb_config_expected (name, s_type_name (setting), error);
}

static gpb_status_t
s_parse (gpb_config_t *self, const char *path, const char *text, gpb_error_t *error)
{
    config_t file;
    config_init (&file);
    gpb_status_t status = GPB_OK;
    if (config_read_string (&file, text) != CONFIG_TRUE)
        status = s_refuse (error, path, config_error_line (&file),
                           "%s; a setting is written `key = value;`", config_error_text (&file));
    else {
        config_setting_t *root = config_root_setting (&file);
        int length = config_setting_length (root);
        for (int index = 0; index < length && status == GPB_OK; index++) {
            config_setting_t *setting = config_setting_get_elem (root, (unsigned) index);
            status = s_set_setting (self, setting, error);
            if (status != GPB_OK)
                gpb_error_prefix (error, "%s:%u: ", path, config_setting_source_line (setting));
        }
    }
    config_destroy (&file);
    return status;
}

gpb_status_t
gpb_config_load (gpb_config_t *self, const char *path, gpb_error_t *error)
{
    char *text = NULL;
    size_t size = 0;
    gpb_status_t status = s_read_file (path, &text, &size, error);
    if (status != GPB_OK)
        return status;
    gpb_config_t *fresh = gpb_config_dup (self);
    char *prepared = gpb_alloc (size + 1, 2);
    if (!fresh || !prepared)
        status = gpb_error_set (error, GPB_RESOURCE_EXHAUSTED, "%s: no memory to read it", path);
    if (status == GPB_OK)
        status = s_prepare (path, text, size, prepared, error);
    if (status == GPB_OK)
        status = gpb_kernel_text_check (prepared, path, error);
    if (status == GPB_OK)
        status = s_parse (fresh, path, prepared, error);
    if (status == GPB_OK)
        gpb_config_swap (self, fresh);
    gpb_config_destroy (&fresh);
    gpb_free (prepared);
    gpb_free (text);
    return status;
}
